"""Settings: two sources, one meaning, and a clear word for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.base.settings import Settings, SettingsError, find_home, load


def home_with(folder: Path, text: str) -> Path:
    (folder / "caducee.toml").write_text(text, encoding="utf-8")
    return folder


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    home = home_with(tmp_path, 'domain = "a.example"\n[imap]\nport = 1143\nworkers = 2\n')
    settings = load(home, {"CADUCEE_IMAP__PORT": "2143", "CADUCEE_DOMAIN": "b.example", "CADUCEE_OTHER": "x"})
    assert (settings.domain, settings.imap.port, settings.imap.workers) == ("b.example", 2143, 2)


def test_relative_paths_start_at_the_home(tmp_path: Path) -> None:
    settings = load(home_with(tmp_path, 'domain = "a.example"\n'), {})
    assert settings.path(settings.imap.certificate) == tmp_path / "pki" / "server.pem"
    assert settings.keys_directory == tmp_path / "keys"


def test_patients_have_a_domain_of_their_own(tmp_path: Path) -> None:
    settings = load(home_with(tmp_path, 'domain = "a.example"\n'), {})
    assert settings.patient_domain == "patient.a.example"
    assert settings.local_domains == {"a.example", "patient.a.example"}


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ('domain = "a.example"\n\n[imap]\nport = "x"\n', {}, "caducee.toml, line 4: imap.port"),
        ('domain = "a.example"\n[imap]\nprot = 1\n', {}, "there is no such setting; known here: certificate, host"),
        ('domain = "a.example"\nprodction = true\n', {}, "line 2: prodction: there is no such setting"),
        ("", {}, 'domain: it is required; write domain = "…"'),
        ('domain = "A.example"\n', {}, 'like "msg.exemple.fr"'),
        ('domain = "a.example"\n', {"CADUCEE_WEB__WORKERS": "0"}, "environment variable CADUCEE_WEB__WORKERS"),
        ('domain = "a.example"\n', {"CADUCEE_NOTHING__X": "1"}, "environment variable CADUCEE_NOTHING__X"),
        ("domain = \n", {}, "caducee.toml"),
        ('domain = "a..b"\n', {}, 'like "msg.exemple.fr"'),
        ('domain = "a.example"\nhome = "/tmp"\n', {}, "home: it is the folder"),
        ('domain = "a.example"\n', {"CADUCEE_HOME__X": "1"}, "home: it is the folder"),
        ('domain = "a.example"\n', {"CADUCEE_DOMAIN": ""}, 'like "msg.exemple.fr"'),
        (
            'domain = "a.example"\nproduction = true\n[identity]\ndevelopment_sign_in = true\n',
            {},
            "line 3: identity: development_sign_in must be false",
        ),
        (
            'domain = "a.example"\nproduction = true\n\n[provider]\nport = 1\nworkers = 1\n',
            {},
            "line 4: provider: workers must be 0 when production is true",
        ),
        ('domain = "a.example"\n[provider]\nworkers = 2\n', {}, "line 3: provider.workers"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(home_with(tmp_path, text), environment)
    assert said in str(raised.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="caducee init"):
        load(tmp_path, {})


def test_no_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CADUCEE_HOME", raising=False)
    with pytest.raises(SettingsError, match="CADUCEE_HOME"):
        find_home(None)


def test_every_setting_is_in_the_operator_guide() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "operator.md").read_text(encoding="utf-8")
    for name, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        for setting in [name] if inner is None else list(inner):
            if setting != "home":
                assert f"`{setting}`" in guide, f"{name}.{setting} is not in docs/operator.md"
