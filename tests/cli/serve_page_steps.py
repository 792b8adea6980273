"""serve_page_steps.py URL FOLDER: what a person does at the page, step by step; prints what the page then says. No pointer is used."""
import sys

from browser import SHIFT, Browser

TEXT = "document.getElementById('%s').textContent"
FOCUS = "(document.activeElement.getAttribute('aria-label') || document.activeElement.id || document.activeElement.textContent)"
TITLES = "[...document.querySelectorAll('#%s .title')].map(e => e.textContent)"
SETTLED = "document.getElementById('state').textContent.includes('Answered')"


def tab_to(page, name, back=False):
    """Press Tab until the focus is on the element whose label begins with name."""
    for _ in range(200):
        if page.value(FOCUS).startswith(name):
            return
        page.press("Tab", modifiers=SHIFT if back else 0)
    raise TimeoutError("Tab never comes to " + name)


def give_key(page, key):
    page.wait("document.activeElement.id === 'key'")
    page.type(key)
    page.press("Enter")


def add(page, words, down=0):
    tab_to(page, "search", back=True)
    page.type(words)
    page.wait("!document.getElementById('found').hidden")
    page.press("ArrowDown", down)
    page.press("Enter")
    page.wait(SETTLED)


def steps(page, url):
    page.look(1280)
    page.open(url + "/")
    print("== key")
    page.wait("document.activeElement.id === 'key'")
    print(page.value(TEXT % "problem"))
    give_key(page, "a-wrong-horse-battery")
    print(page.wait("(t => t.includes('refuses') && t)(%s)" % (TEXT % "problem")))
    give_key(page, "correct-horse-battery")
    page.wait(SETTLED)
    print(page.value(TEXT % "run"), "|", page.value("document.getElementById('key-form').hidden"))

    print("== search and history")
    tab_to(page, "search")
    page.type("gam")
    page.wait("!document.getElementById('found').hidden")
    page.press("Escape")
    print("closed by Escape:", page.value("document.getElementById('found').hidden"))
    page.value("document.getElementById('search').value = ''")
    add(page, "gamma")
    add(page, "the", down=1)
    print(*page.value(TITLES % "history"), sep="\n")
    print("title:", page.value("document.title"), "| images:", page.value("document.images.length"))

    print("== feedback")
    page.value("document.getElementById('user').value = ''")
    tab_to(page, "user", back=True)
    page.type("100")
    page.press("Enter")
    page.wait("document.getElementById('known').textContent === 'Known from training.' && " + SETTLED)
    before = page.value(TITLES % "items")
    tab_to(page, "Dislike: " + before[0])
    page.press("Enter")
    page.wait(TEXT % "state" + ".startsWith('Not liked: ') && " + SETTLED)
    after = page.value(TITLES % "items")
    print("disliked is gone:", before[0] not in after, "| the second moved up:", after[0] == before[1])
    print("in the list of disliked:", before[0] in page.value(TITLES % "disliked"))

    print("== why and side by side")
    tab_to(page, "Why: " + after[0])
    page.press("Enter")
    page.wait("document.querySelector('.why .bars') !== null")
    print(*page.value("[...document.querySelectorAll('.why .name')].map(e => e.textContent)"), sep=", ")
    tab_to(page, "compare")
    page.press("Enter")
    page.wait("!document.getElementById('table').hidden")
    print(*page.value("[...document.querySelectorAll('#table thead th')].map(e => e.textContent)"), sep=", ")
    print("rows:", page.value("document.querySelectorAll('#table tbody tr').length"), "of", len(after))

    print("== phone and dark")
    for dark in (False, True):
        page.look(390, dark=dark)
        print("wider than the screen:", page.value("document.documentElement.scrollWidth > 390"),
              "| background:", page.value("getComputedStyle(document.body).backgroundColor"))
    print("thrown:", page.problems())


page = Browser(sys.argv[2])
try:
    steps(page, sys.argv[1])
finally:
    page.close()
