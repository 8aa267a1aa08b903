// The one address that answers: JSON in, one binary message out.

import { decode } from "./message.js";

/**
 * @typedef {object} Connection
 * @property {URL} url
 * @property {string} token
 */

/** A sentence for the person, from the server or about the connection. */
export class RequestError extends Error {
  /**
   * @param {string} message
   * @param {string} [code] what the server calls it
   */
  constructor(message, code = "") {
    super(message);
    this.code = code;
  }
}

/**
 * @param {Connection} connection
 * @param {object} request
 * @param {AbortSignal} signal
 * @param {File} [file]
 * @returns {Promise<import("./message.js").Message>} throws RequestError, or what the signal aborts with
 */
export async function explain(connection, request, signal, file) {
  const line = JSON.stringify(request);
  const response = await post(connection, file ? new Blob([line, "\n", file]) : line, "application/octet-stream", signal);
  return withBodies(decode(await response.arrayBuffer()));
}

/**
 * @param {Connection} connection
 * @param {object} request
 * @returns {Promise<Blob>} an npz file; throws RequestError
 */
export async function fetchFile(connection, request) {
  const response = await post(connection, JSON.stringify(request), "application/zip");
  return response.blob();
}

/**
 * @param {Connection} connection
 * @param {Blob | string} body
 * @param {string} wanted the type of the answer
 * @param {AbortSignal} [signal]
 */
async function post({ url, token }, body, wanted, signal) {
  let response;
  try {
    response = await fetch(url, { method: "POST", body, signal, headers: { "X-Explorer-Token": token } });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new RequestError("The server cannot be reached. Check the connection; the next choice tries again.");
  }
  const type = response.headers.get("Content-Type") ?? "";
  if (response.ok && type === wanted) return response;
  if (type.startsWith("application/json")) {
    const { message, code } = await response.json();
    throw new RequestError(message, code);
  }
  throw new RequestError(`The server gave no answer to this view (status ${response.status}). Reload the page.`);
}

/**
 * The message whose layers know the bytes that their places count from: they outlive it.
 * @param {any} message
 */
function withBodies(message) {
  for (const network of message.networks) {
    for (const layer of Object.values(network.layers)) layer.body = message.body;
  }
  return message;
}
