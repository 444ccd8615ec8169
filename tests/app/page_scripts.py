"""Scripts for the page's tests, run in the browser; `arguments[0]` is the name of a card."""

# The card, scrolled into view, because pictures outside of it are not loaded.
FIND_CARD = """
const isNamed = it => it.querySelector('h3').textContent === arguments[0];
const card = [...document.querySelectorAll('.card')].find(isNamed);
card?.scrollIntoView();
const canvas = card?.querySelector('canvas');
"""
READ_CARD = f"{FIND_CARD} return card?.innerText ?? '';"
# The lightness of the picture's corner, and where its middle row has the colour of the label.
READ_PICTURE = f"""{FIND_CARD}
const swatch = card?.querySelector('.chip i');
if (!swatch) return null;
const pen = canvas.getContext('2d'), probe = new OffscreenCanvas(1, 1).getContext('2d');
probe.fillStyle = getComputedStyle(swatch).backgroundColor;
probe.fillRect(0, 0, 1, 1);
const colour = probe.getImageData(0, 0, 1, 1).data;
const row = pen.getImageData(0, canvas.height >> 1, canvas.width, 1).data;
const isLabel = x => [0, 1, 2].every(i => Math.abs(row[4 * x + i] - colour[i]) < 8);
const xs = [...Array(canvas.width).keys()].filter(isLabel);
return {{light: pen.getImageData(2, canvas.height - 3, 1, 1).data[0] / 255, xs, width: canvas.width}};
"""
# Whether there is a dashed white line at the zone's right edge.
READ_ZONE = f"""{FIND_CARD}
const edge = Math.round(canvas.width * 0.95), [top, height] = [canvas.height * 0.3, canvas.height * 0.4];
const column = canvas.getContext('2d').getImageData(edge, top, 1, height).data;
return column.filter((value, index) => index % 4 === 0 && value > 250).length > 10;
"""
# Texts with less contrast to their ground than 4.5, which WCAG 2.2 asks for in 1.4.3.
READ_LOW_CONTRAST = """
const pen = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
const rgb = colour => {
  pen.clearRect(0, 0, 1, 1);
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data];
};
const part = it => (it /= 255) <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const ground = it => {
  const colour = rgb(getComputedStyle(it).backgroundColor);
  return colour[3] === 255 || !it.parentElement ? colour : ground(it.parentElement);
};
const contrast = it => {
  const [a, b] = [light(rgb(getComputedStyle(it).color)), light(ground(it))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const saysSomething = it => [...it.childNodes].some(node => node.nodeType === 3 && node.data.trim());
const isSeen = it => it.checkVisibility() && !it.closest('.picture, .unseen, svg') && saysSomething(it);
const texts = [...document.body.querySelectorAll('*')].filter(isSeen);
return texts.map(it => [it.textContent.slice(0, 40), contrast(it)]).filter(([, ratio]) => ratio < 4.5);
"""
