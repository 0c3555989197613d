"""The sign-in as HTML. Its script is `static/sign-in.js`, which finds its sentences in the page."""

from functools import cache
from html import escape

from antiphon.language import N_, catalogue

_SENTENCES = {
    "working": N_("Signing in …"),
    "insecure": N_("This browser hashes passwords only over HTTPS or on this machine."),
    "unproven": N_(
        "The server could not prove that it knows this account: do not type the password again here. Tell the"
        " operator."
    ),
    "unreachable": N_("The server does not answer. Try again."),
    "unreadable": N_("The server's answer cannot be read."),
}
"""What the script says, by the name of a data attribute."""

_PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="stylesheet" href="/access/entry.css">
<link rel="icon" href="/access/icon.svg">
<script type="module" src="/access/sign-in.js"></script>
</head>
<body>
<main>
<h1>{title}</h1>
<p>{explanation}</p>
<noscript><p class="problem">{noscript}</p></noscript>
<form id="sign-in" {sentences}>
<label for="name">{name}</label>
<input id="name" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>
<label for="password">{password}</label>
<input id="password" type="password" autocomplete="current-password" required>
<button type="submit">{button}</button>
<p id="message" role="alert" aria-live="assertive"></p>
</form>
</main>
</body>
</html>
"""
# The fields have no `name`: whatever happens to the script, a browser never sends them.


@cache
def entry_page(language: str) -> str:
    """Return the page in `language`, `en` or `ru`."""
    translate = catalogue(language).gettext
    sentences = " ".join(f'data-{key}="{escape(translate(text))}"' for key, text in _SENTENCES.items())
    words = {
        "title": translate(N_("Antiphon: sign in")),
        "explanation": translate(
            N_(
                "This page is for administrators of the server. The password does not leave this browser, which"
                " proves it by SCRAM, as every client does."
            )
        ),
        "noscript": translate(N_("The sign-in needs JavaScript.")),
        "name": translate(N_("Name")),
        "password": translate(N_("Password")),
        "button": translate(N_("Sign in")),
    }
    shown = {key: escape(text) for key, text in words.items()}
    return _PAGE.format(language=language, sentences=sentences, **shown)
