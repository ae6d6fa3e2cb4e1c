// Passkeys (WebAuthn): a form with data-passkey is shown where the browser has them. Its button asks the browser for a
// passkey, and sends what it answers in the form itself: nothing here talks to the network.
"use strict";
(() => {
  const octets = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const read = (options) => {
    options.challenge = octets(options.challenge);
    if (options.user) options.user.id = octets(options.user.id);
    for (const name of ["excludeCredentials", "allowCredentials"]) {
      options[name] = (options[name] || []).map((one) => ({ ...one, id: octets(one.id) }));
    }
    return options;
  };

  const written = (credential) => {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[name]) response[name] = text(credential.response[name]);
    }
    return JSON.stringify({ id: credential.id, rawId: text(credential.rawId), type: credential.type, response });
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    if (!window.PublicKeyCredential) continue;
    form.hidden = false;
    const none = form.parentElement.querySelector("[data-no-passkey]");
    if (none) none.hidden = true;
    const refused = form.querySelector("[data-refused]");
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      refused.hidden = true;
      try {
        const publicKey = read(JSON.parse(form.dataset.options));
        const credential = await navigator.credentials[form.dataset.passkey]({ publicKey });
        form.elements.reponse.value = written(credential);
      } catch {
        refused.hidden = false;
        return;
      }
      form.submit();
    });
  }
})();
