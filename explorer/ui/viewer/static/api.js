// The addresses of the server: JSON in, one binary message or file out.

import { decode } from "./message.js";

/** A sentence for the person, from the server or about the connection. */
export class RequestError extends Error {
  /** `code`: what the server calls it. @param {string} message @param {string} [code] */
  constructor(message, code = "") {
    super(message);
    this.code = code;
  }
}

/** What a person reads of an error. @type {(error: unknown) => string} */
export const sentence = (error) => (error instanceof RequestError ? error.message : String(error));

/**
 * @param {string} token of the session
 * @param {object} request
 * @param {AbortSignal} signal
 * @param {Blob} [file]
 * @returns {Promise<Message>} throws RequestError, or what the signal aborts with
 */
export async function explain(token, request, signal, file) {
  const line = JSON.stringify(request);
  const response = await post("api/explain", token, file ? new Blob([line, "\n", file]) : line, "application/octet-stream", signal);
  const message = decode(await response.arrayBuffer());
  for (const network of message.networks) {
    for (const layer of Object.values(network.layers)) layer.body = message.body; // layers outlive their message
  }
  return message;
}

/** What the networks predict of a picture file that the server does not keep; throws RequestError. @type {(token: string, request: object, file: File) => Promise<SheetMessage>} */
export async function classify(token, request, file) {
  const response = await post("api/classify", token, new Blob([JSON.stringify(request), "\n", file]), "application/octet-stream");
  return decode(await response.arrayBuffer());
}

/** The name of a picture file that the session keeps; throws RequestError. @type {(token: string, named: {name: string}, file: File) => Promise<string>} */
export async function storePicture(token, named, file) {
  const response = await post("api/picture", token, new Blob([JSON.stringify(named), "\n", file]), "application/json");
  return (await response.json()).picture;
}

/** What is known of the rows of the strip; throws RequestError, or what the signal aborts with. @type {(token: string, request: object, signal: AbortSignal) => Promise<LayerRows>} */
export async function fetchRows(token, request, signal) {
  const response = await post("api/rows", token, JSON.stringify(request), "application/json", signal);
  return response.json();
}

/** An npz file; throws RequestError. @type {(token: string, request: object) => Promise<Blob>} */
export async function fetchArrays(token, request) {
  const response = await post("api/arrays", token, JSON.stringify(request), "application/zip");
  return response.blob();
}

/** An HTML file; throws RequestError. @type {(token: string, request: object) => Promise<Blob>} */
export async function fetchReport(token, request) {
  const response = await post("api/report", token, JSON.stringify(request), "application/octet-stream");
  return new Blob([await response.arrayBuffer()], { type: "text/html" });
}

/** What a proxy in front of the server says with a status: the server's own answers are JSON. @type {Record<number, string>} */
const OF_A_PROXY = {
  401: "The proxy in front of the server wants a login",
  403: "The proxy in front of the server refused the request",
  413: "The proxy in front of the server takes no file of this size",
  502: "The proxy does not reach the server",
  503: "The proxy does not reach the server",
  504: "The proxy did not wait for the server's answer",
};

/**
 * The answer, whose type is `wanted`.
 * @type {(route: string, token: string, body: Blob | string, wanted: string, signal?: AbortSignal) => Promise<Response>}
 */
async function post(route, token, body, wanted, signal) {
  const address = new URL(route, document.baseURI);
  address.username = address.password = ""; // of a page that was opened with its login in the address
  let response;
  try {
    response = await fetch(address, { method: "POST", body, signal, headers: { "X-Explorer-Token": token } });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new RequestError("The server cannot be reached. Check the connection; the next choice tries again.");
  }
  const type = response.headers.get("Content-Type") ?? "";
  if (type.startsWith("application/json")) {
    const answer = await response.clone().json();
    if (!answer.code) return response;
    throw new RequestError(answer.message, answer.code);
  }
  if (response.ok && type === wanted) return response;
  const proxy = OF_A_PROXY[response.status] ?? "The server gave no answer to this view";
  throw new RequestError(`${proxy} (status ${response.status}). Reload the page.`);
}
