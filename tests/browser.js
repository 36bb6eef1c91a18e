// What tests/test_browser.py asks a page of the book. Every function returns a list of complaints; none is good.

window.checks = (() => {
  const shown = (element) =>
    element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) &&
    [...element.getClientRects()].some((box) => box.width > 1 && box.height > 1);

  // Short enough for a message, long enough to find the element: its tag, id, classes and first words.
  const name = (element) => {
    const classes = [...element.classList].map((word) => "." + word).join("");
    const text = (element.textContent || element.alt || "").trim().replace(/\s+/g, " ").slice(0, 40);
    return `<${element.localName}${element.id && "#" + element.id}${classes}> ${text}`;
  };

  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  const ancestors = function* (element) {
    for (; element; element = element.parentElement) yield element;
  };

  // ---- colours: WCAG 2.1, https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio

  // [red, green, blue, opacity], each from 0 to 1, of what getComputedStyle returns.
  const parse = (colour) => {
    const numbers = colour.match(/-?[\d.]+(e-?\d+)?/g).map(Number);
    const [r, g, b, a = 1] = numbers;
    return colour.startsWith("rgb") ? [r / 255, g / 255, b / 255, a] : [r, g, b, a];
  };

  const over = (front, back) => {
    const a = front[3];
    return [0, 1, 2].map((i) => a * front[i] + (1 - a) * back[i]).concat(1);
  };

  // The colours behind an element, from the page's white upwards.
  const ground = (element) =>
    [...ancestors(element)]
      .reverse()
      .map((each) => parse(getComputedStyle(each).backgroundColor))
      .reduce((back, front) => over(front, back), [1, 1, 1, 1]);

  const luminance = (colour) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.slice(0, 3).map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };

  const ratio = (element) => {
    const back = ground(element);
    const colour = parse(getComputedStyle(element).color);
    for (const each of ancestors(element)) colour[3] *= Number(getComputedStyle(each).opacity);
    const [dark, light] = [luminance(over(colour, back)), luminance(back)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };

  // Elements that hold text themselves, and equations, whose letters are drawn by styles.
  const written = () => {
    const found = new Set(all("mjx-container"));
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      if (walker.currentNode.textContent.trim()) found.add(walker.currentNode.parentElement);
    }
    return [...found].filter((element) => !element.closest("script, style, mjx-assistive-mml") && shown(element));
  };

  return {
    // How many elements of text the next check looks at: none would make it worthless.
    written: () => written().length,

    contrast: () =>
      written()
        .map((element) => [ratio(element), element])
        .filter(([value]) => value < 4.5)
        .map(([value, element]) => `${value.toFixed(2)}: ${name(element)}`),

    // Pictures are dark on light: whatever the page's colours, they need a light ground of their own.
    figures: () =>
      all("article img")
        .filter((img) => shown(img) && luminance(ground(img)) < 0.8)
        .map(name),

    sideways: () => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return scrollWidth > clientWidth ? [`the page is ${scrollWidth} wide, the window ${clientWidth}`] : [];
    },

    // What reaches out of the window and is in nothing that scrolls can't be read at all.
    cut: () => {
      const scrolls = (element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
      const out = (element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
      return all("article *")
        .filter((element) => shown(element) && out(element) && !element.closest("mjx-assistive-mml"))
        .filter((element) => ![...ancestors(element.parentElement)].some((each) => scrolls(each)))
        .map(name);
    },

    images: () =>
      all("img")
        .filter((img) => !img.complete || !img.naturalWidth)
        .map((img) => img.src.slice(0, 100)),

    described: () => all("img").filter((img) => !img.alt.trim()).map((img) => img.src.slice(0, 100)),

    equations: () => {
      const box = (container) => container.getBoundingClientRect();
      const flat = all("mjx-container").filter((each) => shown(each.parentElement) && box(each).width * box(each).height < 1);
      const raw = all(".math").filter((each) => !each.querySelector("mjx-container"));
      const left = all("article p, article li, article td, article figcaption").filter((each) => {
        const copy = each.cloneNode(true);
        all("code, pre, mjx-container", copy).forEach((inner) => inner.remove());
        return /\$\$|\\\(|\\\[|\\begin\{/.test(copy.textContent);
      });
      return [...all("mjx-merror, merror"), ...flat, ...raw, ...left].map(name);
    },

    headings: () => {
      const found = all("h1, h2, h3, h4, h5, h6").filter(shown);
      const level = (heading) => Number(heading.localName[1]);
      const ones = found.filter((heading) => level(heading) === 1);
      const skips = found.filter((heading, i) => i > 0 && level(heading) > level(found[i - 1]) + 1);
      const first = found.slice(0, 1).filter((heading) => level(heading) !== 1);
      return [...(ones.length === 1 ? [] : [`${ones.length} h1`]), ...[...first, ...skips].map(name)];
    },

    // On the search page the theme's search window has the same field once more; only one of the two is open.
    ids: () => {
      const ids = all("[id]").filter((each) => !each.closest(".search-button__search-container")).map((each) => each.id);
      return ids.filter((id, i) => ids.indexOf(id) !== i);
    },

    // Buttons, links and fields that say nothing to a reader who can't see them.
    unnamed: () =>
      all("button, a[href], input, select, textarea").filter((element) => {
        const labels = [...(element.labels || [])].map((label) => label.textContent);
        const pictures = all("img", element).map((img) => img.alt);
        const said = [element.textContent, element.ariaLabel, element.title, element.placeholder, ...labels, ...pictures];
        return shown(element) && !said.some((words) => (words || "").trim());
      }).map(name),
  };
})();
