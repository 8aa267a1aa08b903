// The binary message of `explorer/ui/api/message.py`: the length of the header (uint32, little-endian), the header as
// JSON, and the arrays that the header points into.

/**
 * @param {ArrayBuffer | Uint8Array} content
 * @returns {any} the header, and `body`: the bytes that its places count from
 */
export function decode(content) {
  const bytes = content instanceof Uint8Array ? content : new Uint8Array(content);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  return { ...header, body: bytes.slice(4 + length) };
}

/** @type {(body: Uint8Array, start: number, count: number) => Float32Array<ArrayBufferLike>} */
export const floats = (body, start, count) => new Float32Array(body.buffer, body.byteOffset + start, count);

/** The picture that lies there, of so many bytes a pixel. @type {(body: Uint8Array, place: PictureAt, bytes?: number) => Raster} */
export const rasterAt = (body, [start, height, width], bytes = 1) => ({
  ...{ height, width },
  values: body.subarray(start, start + bytes * height * width),
});
