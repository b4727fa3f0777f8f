"""The onboarding page: a creator says who they are and where money goes."""

import html
from http import HTTPStatus

from local.stripe.control import Control
from local.stripe.pages.html import Page, button, form, page, sent, told


def show(control: Control, identifier: str) -> Page:
    """Show the page, once: whoever comes again or too late is sent to get another link."""
    link = control.use_link(identifier)
    if link is None:
        stale = control.find_object(identifier)
        if stale is None:
            return told(HTTPStatus.NOT_FOUND, "There is no such page", "")
        return sent(stale["refresh_url"])
    account = control.object(link["account"])
    buttons = button("Submit everything", "do", "submit", first=True) + button("Come back later", "do", "later")
    return page(
        "Onboarding at the stand-in for Stripe",
        '<div class="card"><h1>Get paid</h1>'
        f"<p>{html.escape(account['email'] or account['id'])} would give a name, a bank account and a signature "
        f"here.</p>{form(f'/stripe/onboarding/{identifier}', buttons, kind='wide')}"
        '<p class="note">This is a stand-in for Stripe: nobody is asked anything.</p></div>',
    )


def press(control: Control, identifier: str, fields: dict[str, str]) -> Page:
    """Complete the account or not, and send the browser back."""
    link = control.object(identifier)
    if fields.get("do") == "submit":
        control.onboard(link["account"])
    return sent(link["return_url"])
