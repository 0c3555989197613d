// Return the page as SVG text: boxes, borders and words where the browser has put them.
const escaped = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
const shown = (value) => Math.round(value * 10) / 10;
const seen = (color) => !/^rgba\(.*, 0\)$|^transparent$/.test(color);
const parts = [];
const pen = document.createElement("canvas").getContext("2d");

function box(style, at) {
  const edges = ["Top", "Right", "Bottom", "Left"].map((side) => parseFloat(style[`border${side}Width`]));
  const frame = edges.every((width) => width > 0);
  if (seen(style.backgroundColor) || frame)
    parts.push(`<rect x="${shown(at.x)}" y="${shown(at.y)}" width="${shown(at.width)}" height="${shown(at.height)}"` +
      ` rx="${Math.min(parseFloat(style.borderTopLeftRadius) || 0, at.height / 2)}"` +
      ` fill="${seen(style.backgroundColor) ? style.backgroundColor : "none"}"` +
      (frame ? ` stroke="${style.borderTopColor}"` : "") + "/>");
  if (frame) return;
  for (const [side, y] of [["Top", at.top], ["Bottom", at.bottom]])
    if (edges[side === "Top" ? 0 : 2] > 0)
      parts.push(`<line x1="${shown(at.left)}" x2="${shown(at.right)}" y1="${shown(y)}" y2="${shown(y)}"` +
        ` stroke="${style[`border${side}Color`]}" stroke-width="${edges[side === "Top" ? 0 : 2]}"/>`);
}

function words(node, style) {
  const range = document.createRange();
  const lines = [];
  for (let at = 0; at < node.length; at++) {
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    const place = range.getClientRects()[0];
    if (!place || !place.width) continue;
    const last = lines.at(-1);
    if (last && Math.abs(last.top - place.top) < 2) Object.assign(last, { text: last.text + node.data[at], right: place.right });
    else lines.push({ text: node.data[at], left: place.left, right: place.right, top: place.top, height: place.height });
  }
  pen.font = style.font;
  const { fontBoundingBoxAscent: up, fontBoundingBoxDescent: down } = pen.measureText("x");
  for (const { text, left, right, top, height } of lines)
    if (text.trim())
      parts.push(`<text x="${shown(left)}" y="${shown(top + (height + up - down) / 2)}" fill="${style.color}"` +
        ` font-size="${parseFloat(style.fontSize)}"` + (style.fontWeight > 500 ? ` font-weight="${style.fontWeight}"` : "") +
        (style.fontFamily.includes("mono") ? ' font-family="monospace"' : "") +
        ` textLength="${shown(right - left)}" lengthAdjust="spacingAndGlyphs" xml:space="preserve">${escaped(text)}</text>`);
}

function picture(svg, at) {
  const copy = svg.cloneNode(true);
  const pairs = [...svg.querySelectorAll("*")].map((each, place) => [each, copy.querySelectorAll("*")[place]]);
  for (const [each, drawn] of pairs) {
    const style = getComputedStyle(each);
    for (const name of ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "text-anchor", "font-size"])
      if (style.getPropertyValue(name) !== "none" || name === "fill") drawn.setAttribute(name, style.getPropertyValue(name));
    for (const name of ["class", "id"]) drawn.removeAttribute(name);
  }
  for (const each of copy.querySelectorAll("title, desc")) each.remove();
  const inside = copy.innerHTML.replaceAll(' xmlns="http://www.w3.org/2000/svg"', "");
  parts.push(`<svg x="${shown(at.x)}" y="${shown(at.y)}" width="${shown(at.width)}" height="${shown(at.height)}"` +
    ` viewBox="${svg.getAttribute("viewBox")}">${inside}</svg>`);
}

function draw(element) {
  const style = getComputedStyle(element);
  if (!element.checkVisibility() || style.clipPath !== "none" || element.matches(".skip")) return;
  const at = element.getBoundingClientRect();
  if (element.matches("svg")) return picture(element, at);
  box(style, at);
  for (const child of element.childNodes)
    if (child.nodeType === Node.TEXT_NODE) words(child, style);
    else if (child.nodeType === Node.ELEMENT_NODE) draw(child);
}

const [width, height] = [document.documentElement.clientWidth, arguments[0]];
draw(document.body);
return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"` +
  ` font-family="system-ui, sans-serif" role="img"><title>${escaped(arguments[1])}</title>` +
  `<rect width="${width}" height="${height}" fill="${getComputedStyle(document.body).backgroundColor}"/>\n` +
  parts.join("\n") + "\n</svg>\n";
