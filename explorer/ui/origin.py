"""Which pages are this server's own, by the headers of a request: browsers name the page's origin in them."""

import re
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SHOWN = 100  # letters of a header in a sentence


def refusal(origin: str, headers: Headers) -> str:
    """Why a page of that origin is not this server's, as the end of a sentence that names the header and what to do; ""
    where it is.

    It is where `Host` names the same place, or where `X-Forwarded-Host` or `X-Forwarded-Port` of a proxy complete it:
    no page can set these three in a request that its browser sends to another origin unasked. Where
    `X-Forwarded-Proto` says that the request came by HTTPS, a page that did not is another one: anybody between may
    have written it. Origins that `server.corsAllowedOrigins` names count as this server's.
    """
    allowed = {each.strip() for each in st.get_option("server.corsAllowedOrigins")}
    if origin in allowed or not st.get_option("server.enableCORS"):
        return ""
    scheme, _, place = origin.partition("://")
    page = _host_and_port(scheme, place)
    host = headers.get("host", "")
    named = {"Host": host}
    if forwarded := headers.get("x-forwarded-host", "").split(",")[0].strip():
        named["X-Forwarded-Host"] = forwarded
    elif (port := headers.get("x-forwarded-port", "").split(",")[0].strip()) and not re.search(r":\d+$", host):
        named["X-Forwarded-Port"] = f"{host}:{port}"
    fits = page and any(_host_and_port(scheme, each) == page for each in named.values())
    by = headers.get("x-forwarded-proto", "").split(",")[0].strip()
    if by.lower() in ("https", "wss") and scheme != "https":
        named["X-Forwarded-Proto"] = by
    elif fits:
        return ""
    told = " and ".join(f"`{name}` names {each[:_SHOWN]!r}" for name, each in named.items())
    return (
        f"a page at {origin[:_SHOWN]!r}: the header {told}. If that page is the app's own, its proxy changed the "
        "header. Let it forward the browser's `Host` with the port (nginx: `proxy_set_header Host $http_host;`), or "
        "start the app with the page in `--server.corsAllowedOrigins`."
    )


def _host_and_port(scheme: str, place: str) -> tuple[str, int] | None:
    """Of "name" or "name:port"; None for anything else."""
    try:
        parts = urlsplit(f"//{place}")
        port = parts.port or _DEFAULT_PORTS[scheme]
    except (ValueError, KeyError):
        return None
    if not parts.hostname or parts.netloc != place or "@" in place:
        return None
    return parts.hostname, port
