// The binary message of `explorer/ui/api/message.py`: the length of the header (uint32, little-endian), the header as
// JSON, and the arrays that the header points into.

/** @typedef {[start: number, height: number, width: number]} Place a picture in the body: uint8, row by row */

/**
 * @typedef {object} Cell one layer of one network
 * @property {Place} cam shares 0..255 of `largest`
 * @property {Place} map signed shares around 128 of `peak`
 * @property {number | null} largest of the Grad-CAM
 * @property {number | null} peak of the feature map, as absolute value
 * @property {string | null} zero why the Grad-CAM is zero everywhere
 * @property {number} strongest its most active channel
 * @property {number} channels
 * @property {string} sizes
 */

/**
 * @typedef {object} LayerData what the layer panel shows of one layer of one network
 * @property {[name: string, value: string][]} numbers
 * @property {number} channels
 * @property {boolean} reduced whether the maps are smaller than the layer's
 * @property {Place} maps of channel 0; the others follow
 * @property {number} stats float32, four for each channel
 * @property {{channel: number, map: Place}} [chosen] the whole map of one channel of a reduced layer
 * @property {Uint8Array} body the bytes that its places count from
 */

/**
 * @typedef {object} Message
 * @property {string} picture
 * @property {string | null} layer the layer that is shown where none is chosen
 * @property {{name: string, label: string, kind: string}[]} columns
 * @property {{label: string, title: string, span: number}[]} groups
 * @property {Record<string, number>} palettes where the 256 colours of each begin
 * @property {{title: string, target: string, colour: string, dashed: boolean, cells: (Cell | null)[], input: Place,
 *   layers: Record<string, LayerData>}[]} networks
 * @property {Record<string, any>} maxima the end of each colour scale, by kind and scope
 * @property {any[]} charts
 * @property {any} predictions
 * @property {boolean} prefetch whether all layers are small enough to be fetched ahead
 * @property {boolean} every whether all layers have come
 * @property {Record<string, string>} sheets the pictures of a scene, by its number
 * @property {Uint8Array} body
 */

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

/**
 * @param {Uint8Array} body
 * @param {number} start
 * @param {number} count
 */
export const floats = (body, start, count) => new Float32Array(body.buffer, body.byteOffset + start, count);
