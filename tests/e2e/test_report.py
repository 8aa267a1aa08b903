"""The report in a real browser, from a file and without a network."""

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, Route

from driving.accessibility import violations
from tests.test_report import hostile_twins, html_report, measured


def test_the_report_opens_offline_with_its_figures_and_runs_nothing_of_a_name(
    browsers: Callable[[int], BrowserContext], tmp_path: Path
) -> None:
    compared = hostile_twins()
    path = tmp_path / "report.html"
    path.write_text(html_report(compared, measured(compared)), encoding="utf-8")
    context = browsers(0)
    context.set_offline(True)
    page = context.new_page()
    page.set_viewport_size({"width": 1024, "height": 800})
    asked: list[str] = []
    complaints: list[str] = []
    seen: list[str] = []

    def refuse(route: Route) -> None:
        if route.request.url.startswith(("data:", path.as_uri())):
            route.continue_()
        else:
            asked.append(route.request.url)
            route.abort()

    try:
        page.route("**/*", refuse)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function("document.querySelectorAll('.chart').length === 10")
        page.wait_for_function("[...document.querySelectorAll('.chart')].every(c => c.querySelector('.main-svg'))")
        assert page.locator(".chart .heatmaplayer image, .chart .hm image").count() >= 4, "matrices are painted"
        assert page.title().startswith("Comparison of </script>")
        pictures = page.locator("img")
        assert pictures.count() > 30, "the image, the strips, the overlays"
        assert pictures.evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert not page.locator("img[onerror]").count()
        colour = "getComputedStyle(document.querySelector('.chart .xtick text')).fill"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function("dark => (document.querySelectorAll('.chart .main-svg').length > 0)", arg=scheme)
            assert not violations(page), scheme
            seen.append(page.evaluate(colour))
        assert seen[0] != seen[1], "charts follow the system"
    finally:
        page.close()
        context.set_offline(False)
    assert not asked and not complaints, (asked, complaints)
