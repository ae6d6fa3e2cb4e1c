"""`caducee operator invite|role|revoke|list`: the operator's own people, who sign in to the console."""

from __future__ import annotations

from typing import Annotated

import typer

from server.cli.admin import Admin
from server.cli.common import HomeOption, JsonOption, answer_json, out, run, settings_of
from server.identity.operators import accounts
from server.identity.operators.model import Act, Operator, Role
from server.identity.operators.requests import use

app = typer.Typer(no_args_is_help=True, help="People who administer in the console, by role.")
RoleOption = Annotated[Role, typer.Option("--role")]
Approval = Annotated[int | None, typer.Option(help="Number of the approved request, once there are operators.")]


async def approved(admin: Admin, approval: int | None, act: Act, target: str) -> None:
    """Use an approval up where there are operators. Raises Refused(NOT_ALLOWED)."""
    await use(admin.connection, admin.edge, approval, act, target)


@app.command()
def invite(name: str, role: RoleOption, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Make the code by which somebody becomes an operator, or begins anew who lost password or telephone."""
    settings = settings_of(home)

    async def work() -> tuple[str, str]:
        async with Admin(settings) as admin:
            code, end = await accounts.invite(admin.connection, admin.edge, name, role, accounts.COMMAND_LINE)
            return code, f"{end:%Y-%m-%d %H:%M} UTC"

    code, end = run(work())
    if as_json:
        answer_json({"name": name, "role": role.value, "code": code, "until": end})
    else:
        out.print(f"{name}  {code}  until {end}, on the console's page /activation", markup=False)


@app.command("role")
def role_(name: str, role: RoleOption, home: HomeOption = None) -> None:
    """Give an operator another role; sessions end, what they asked for and may ask no more dies."""
    settings = settings_of(home)

    async def work() -> None:
        async with Admin(settings) as admin:
            await accounts.change_role(admin.connection, admin.edge, name, role, accounts.COMMAND_LINE)

    run(work())
    out.print(f"{name} is {role.value}.", markup=False)


@app.command()
def revoke(name: str, home: HomeOption = None) -> None:
    """End an operator's access at once; the name is never given again."""
    settings = settings_of(home)

    async def work() -> None:
        async with Admin(settings) as admin:
            await accounts.revoke(admin.connection, admin.edge, name, accounts.COMMAND_LINE)

    run(work())
    out.print(f"{name} is no operator any more.", markup=False)


@app.command("list")
def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List operators, those who were revoked last."""
    settings = settings_of(home)

    async def work() -> list[Operator]:
        async with Admin(settings) as admin:
            return await accounts.everyone(admin.connection, admin.edge)

    found = run(work())
    if as_json:
        answer_json([{"name": one.name, "role": one.role, "enrolled": one.enrolled} for one in found])
        return
    for one in found:
        state = one.role.value if one.role else "revoked"
        out.print(f"{one.name}  {state}{'' if one.enrolled or not one.role else ', invited'}", markup=False)
    if not found:
        out.print("None: `caducee operator invite NAME --role security-officer` makes the first.")
