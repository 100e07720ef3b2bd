"""The pages for staff in a real browser: log in and look around, on a desktop and a phone, light and dark."""

import pytest

from autograder.ledger import AdjustmentKind, JobState, Ledger, RepositoryName
from autograder.service.http import app as edge
from tests.support import chromium
from tests.support.ledgers import Semester, commit
from tests.support.webservice import TOKEN, new_service, serving

pytestmark = pytest.mark.browser

LONG = "a0-" + "a-student-with-a-very-long-name" * 3
WORD = "thedisk" * 40  # has no place for a line break
NASTY = "\u202egnp.exe <script>document.title='taken'</script><img src='http://192.0.2.1/x.png'>"


@pytest.fixture
def semester(sqlite_database, clock):
    database, empty = sqlite_database
    empty()
    semester = Semester(Ledger(database, clock), clock)
    semester.push("good")
    semester.grade("good", 80)
    semester.push("waits", LONG.removeprefix("a0-"), sender=NASTY[:100])
    semester.open("waits", LONG.removeprefix("a0-"))
    semester.push("dies", "eve")
    job = semester.run("dies", "eve")
    semester.ledger.move(job.id, JobState.DEAD, reason=f"there is no such repository {WORD} {NASTY}")
    return semester


@pytest.fixture
def address(semester, clock, tmp_path):
    with serving(edge.create(new_service(tmp_path, semester.ledger, clock))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def desktop():
    with chromium.browsing() as browser:
        yield browser


@pytest.fixture(scope="module", params=[False, True], ids=["light", "dark"])
def phone(request):
    with chromium.browsing(width=360, height=740, dark=request.param) as browser:
        yield browser


def wait_for(browser, path):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda browser: browser.current_url.endswith(path))


def log_in(browser, address, path="/?refresh=off"):
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})  # also of a page that is gone by now
    browser.get(address + path)
    assert "/login" in browser.current_url
    browser.find_element("name", "token").send_keys(TOKEN)
    browser.find_element("css selector", ".login button").click()
    wait_for(browser, path)


def text_of(browser):
    return browser.find_element("tag name", "main").text


def test_staff_log_in_and_see_who_waits_and_what_failed(desktop, address, semester):
    chromium.requests(desktop)  # discards what the browser requested when it started
    log_in(desktop, address)
    text = text_of(desktop)
    for part in (
        "Needs staff",
        "there is no such repository",
        "a0-eve",
        "Waiting",
        LONG,
        "80\u2009/\u2009100",
    ):
        assert part in text
    desktop.find_element("link text", "git.uni.example/dls/a0-ann").click()
    wait_for(desktop, "/r/git.uni.example/dls/a0-ann")
    text = text_of(desktop)
    assert commit("good")[:8] in text
    assert "values differ" in text  # the report that counts is open
    assert "sha256" not in text
    desktop.find_element("css selector", "details details summary").click()
    assert "sha256" in text_of(desktop)
    requested = chromium.requests(desktop)
    assert any(url.endswith("/static/style.css") for url in requested)
    assert [url for url in requested if not url.startswith(address)] == []
    assert [entry for entry in desktop.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_text_of_strangers_does_nothing(desktop, address):
    log_in(desktop, address)
    desktop.find_element("link text", commit("dies")[:8]).click()
    assert "document.title='taken'" in text_of(desktop)
    assert desktop.title != "taken"
    assert [url for url in chromium.requests(desktop) if "192.0.2.1" in url] == []


def test_scripts_would_not_run_even_if_one_got_into_a_page(desktop, address):
    log_in(desktop, address)
    desktop.execute_script(
        "const s = document.createElement('script'); s.text = 'document.title = \"taken\"'; document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'http://192.0.2.1/x.png'; document.body.append(i)"
    )
    assert desktop.title != "taken"
    refused = [
        entry["message"]
        for entry in desktop.get_log("browser")
        if "Content Security Policy" in entry["message"]
    ]
    assert len(refused) == 2


def test_scripts_cannot_read_the_cookie(desktop, address):
    log_in(desktop, address)
    assert [cookie["name"] for cookie in desktop.get_cookies()] == ["autograder"]
    assert desktop.execute_script("return document.cookie") == ""


def test_logging_out(desktop, address):
    log_in(desktop, address)
    desktop.find_element("css selector", "form[action='/logout'] button").click()
    wait_for(desktop, "/login")
    desktop.get(address + "/")
    assert "/login" in desktop.current_url
    assert desktop.get_cookies() == []


def test_the_front_page_refreshes_itself(desktop, address, semester):
    log_in(desktop, address)
    semester.push("new", "zoe")
    semester.open("new", "zoe")
    desktop.find_element("link text", "Resume").click()
    from selenium.webdriver.support.ui import WebDriverWait

    semester.push("newer", "yan")
    semester.open("newer", "yan")
    WebDriverWait(desktop, 60).until(lambda browser: "a0-yan" in browser.page_source)


def test_a_phone_needs_no_sideways_scrolling(phone, address, semester):
    log_in(phone, address)
    (dead,) = semester.ledger.jobs(states=[JobState.DEAD])
    paths = [
        "/login",
        "/?refresh=off",
        "/jobs",
        "/jobs?state=dead",
        f"/jobs/{dead.id}",
        "/r",
        "/grades",
        "/grades?a=a0",
        "/nothing",
    ]
    for path in [*paths, "/r/git.uni.example/dls/a0-ann", f"/r/git.uni.example/dls/{LONG}"]:
        phone.get(address + path)
        phone.execute_script(
            "document.querySelectorAll('details').forEach((details) => { details.open = true })"
        )
        wide = "return [document.documentElement.scrollWidth, window.innerWidth]"
        width, room = phone.execute_script(wide)
        assert room == 360, path
        assert width <= room, path


def test_the_grades_of_one_assignment_fit_on_a_screen(desktop, address, semester):
    name = RepositoryName("git.uni.example", "dls", "a0-ann")
    semester.ledger.add_adjustment(
        name, "a0", AdjustmentKind.POINTS, points=5, who="okafor", why="the third question was ambiguous"
    )
    log_in(desktop, address)
    desktop.get(f"{address}/grades?a=a0")
    wide = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    width, room = desktop.execute_script(wide)
    assert width <= room
    heights = "return [...document.querySelectorAll('tbody td:not(.lead, .given)')].map((cell) => cell.clientHeight)"
    assert max(desktop.execute_script(heights)) < 130  # no cell with a few letters on each line


def test_colours_can_be_read(phone, address):
    """WCAG: the contrast between text and its background is at least 4.5 to 1."""
    log_in(phone, address)
    for path in ("/?refresh=off", "/r/git.uni.example/dls/a0-ann"):
        phone.get(address + path)
        poor = phone.execute_script(CONTRAST)
        assert poor == [], path


CONTRAST = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const color = parse(getComputedStyle(element).backgroundColor);
    if (color.length === 3 || color[3] > 0) return color;
  }
  return [255, 255, 255];
};
const poor = [];
for (const element of document.querySelectorAll('body *')) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push(`${element.className} ${element.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
}
return poor;
"""
