// The parts that lines and maps have in common.

/**
 * @typedef {object} Reading what stands at a place
 * @property {string} heading
 * @property {[colour: string, name: string, value: string][]} rows
 */

/**
 * @typedef {object} Panels one kind of chart of one set of data
 * @property {boolean} isMap whether it has columns and rows, or steps and values
 * @property {import("./span.js").View} full
 * @property {number} least steps or cells that a view shows
 * @property {{title: string, colour?: string}[]} panels
 * @property {(width: number) => import("./frame.js").Layout} layout
 * @property {(index: number, view: import("./span.js").View | null) => import("./frame.js").Span} spanY of a panel
 * @property {(surface: Surface) => void} draw
 * @property {(over: Element, frame: import("./frame.js").Frame, cursor: {x: number, y: number}) => void} mark
 * @property {(cursor: {x: number, y: number}, until: number) => Reading} read
 * @property {() => Node[]} legend above the drawing
 * @property {() => Node[]} bar below it
 */

/**
 * @typedef {object} Surface where one panel is drawn
 * @property {number} index of the panel
 * @property {import("./frame.js").Frame} frame
 * @property {Element} svg for what stands beside the frame
 * @property {Element} inside cut off at the frame
 * @property {number} until the last step that is drawn
 * @property {string} id that no other panel has
 */

export {};
