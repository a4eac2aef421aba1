"""Who looks at the page: browsers, told apart by a cookie, and what they may fetch."""

from __future__ import annotations

import secrets

import streamlit as st
from vault import Vault

COOKIE = "medvision_visitor"
VAULT = Vault()


def visitor() -> str:
    """Return what tells this browser from others; a page without a server has a name of its own."""
    name = st.context.cookies.get(COOKIE)
    if isinstance(name, str) and name:
        return name
    return str(st.session_state.setdefault("visitor", secrets.token_urlsafe(24)))
