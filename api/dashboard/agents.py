"""A browser's user agent in words: "Firefox on Linux". Only a hint: a client may send anything."""

# The first match counts: Edge and Opera also say Chrome, and Chrome also says Safari.
_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip


def device(agent: str | None) -> str:
    if not agent:
        return "Unknown"
    browser = next((name for mark, name in _BROWSERS if mark in agent), None)
    system = next((name for mark, name in _SYSTEMS if mark in agent), None)
    if browser is None:
        return agent.split("/")[0].split(" ")[0][:30]  # a program, such as curl or python-requests
    return f"{browser} on {system}" if system else browser
