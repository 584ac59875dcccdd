"""The page of a suite in a browser: headless Chromium, if it is installed, on a wide and on a narrow screen."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.reporting.test_overview import page_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
SCREENS = {"wide": 1400, "phone": 390}
# a script that uses the page, and writes what it saw to the element #seen
USE = """<script>
window.addEventListener("error", (event) => { document.title = event.message; });
setTimeout(() => {
  const seen = {}, svg = document.querySelector("#figure4 svg"), at = svg.getBoundingClientRect();
  seen.width = window.innerWidth;
  seen.overflow = document.documentElement.scrollWidth - window.innerWidth;
  const count = () => document.querySelectorAll("#figure4 .panels path").length;
  const before = count();
  svg.dispatchEvent(new PointerEvent("pointermove", { clientX: at.right, clientY: at.top }));
  seen.tip = document.querySelector("#figure4 .tip").textContent;
  svg.dispatchEvent(new MouseEvent("click"));
  seen.chosen = document.querySelector("#figure4 .chosen").textContent;
  seen.links = [...document.querySelectorAll("#figure4 .chosen a")].map((link) => link.getAttribute("href"));
  const select = document.querySelector("#figure4 select");
  const label = () => [...document.querySelectorAll("#figure4 svg[role] text")].at(-2).textContent;
  seen.axes = [...select.options].map((option) => {
    select.value = option.value;
    select.dispatchEvent(new Event("change"));
    return label();
  });
  document.querySelector("#figure4 .legend button").click();
  seen.fewer = before - count();
  document.querySelectorAll("#figure4 input")[1].click();
  seen.more = count() - (before - seen.fewer);
  document.querySelectorAll("#runs details").forEach((details) => { details.open = true; });
  setTimeout(() => {
    seen.settings = document.querySelectorAll("#runs pre").length;
    seen.error = document.title;
    const out = document.createElement("div");
    out.id = "seen";
    out.textContent = JSON.stringify(seen);
    document.body.append(out);
  }, 200);
}, 300);
</script></body>"""


def use(page: Path, width: int) -> dict:
    """Open the page in a window of this width, use it, and return what was seen."""
    used = page.with_name("used.html")
    used.write_text(page.read_text().replace("</body>", USE))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [CHROMIUM, *options, profile, f"--window-size={width},2000", "--virtual-time-budget=4000"]
    found = subprocess.run([*command, used.as_uri()], capture_output=True, text=True, timeout=120)
    (text,) = re.findall(r'<div id="seen">(.*?)</div>', found.stdout)
    return json.loads(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.parametrize("screen", SCREENS)
def test_a_point_leads_to_its_run_and_curves_can_be_switched(project, screen):
    page = page_of(project)
    seen = use(page, SCREENS[screen])
    assert seen["error"] == "Toy"
    assert seen["overflow"] <= 0
    for words in (
        "256 frames",
        "2.56 seconds",
        "128 tokens",
        "seed 0: ",
        "seed 1: ",
        "mAP: ",
        "50 clips",
        "run elastic/",
    ):
        assert words in seen["tip"]
        assert words in seen["chosen"]
    assert "runs/elastic/seed0/config.yaml" in seen["links"]
    assert "runs/elastic/seed0/run.json" in seen["links"]
    assert len(set(seen["axes"])) == 3
    assert seen["fewer"] > 0
    assert seen["more"] > 0
    assert seen["settings"] == 4
