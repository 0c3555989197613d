// Requests of the page to its own server. A page of administrators has <meta name="csrf" content="...">.

/** An answer that says why a request was refused: `text` is for the person, `code` for programs. */
export class Refusal extends Error {
  constructor(status, code, text) {
    super(text);
    this.status = status;
    this.code = code;
    this.text = text;
  }
}

/** POST a value as JSON to a path of this server, and return the answer's value; throw a Refusal. */
export async function post(path, value) {
  const token = document.querySelector('meta[name="csrf"]')?.content ?? "";
  const response = await fetch(path, {
    method: "POST",
    credentials: "same-origin",
    redirect: "error",
    headers: { "Content-Type": "application/json", "X-Antiphon-CSRF": token },
    body: JSON.stringify(value),
  });
  const text = await response.text();
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    answer = { code: "refused", text: text.trim() };
  }
  if (!response.ok) throw new Refusal(response.status, answer.code, answer.text);
  return answer;
}
