// What authors wrote, made harmless to look at: as schemas/escaping.py does it for everything else.
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

export function shown(text, most = 500) {
  const whole = String(text ?? "").replace(/[\n\r\t]/g, " ");
  const short = whole.length > most ? `${whole.slice(0, most - 1)}\u2026` : whole;
  return short.replace(HIDDEN, (character) => {
    const code = character.codePointAt(0);
    const digits = code.toString(16);
    if (code <= 0xff) return `\\x${digits.padStart(2, "0")}`;
    return code <= 0xffff ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
  });
}

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}
