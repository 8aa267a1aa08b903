// The types that the modules of `static/` share; all are global, so a module names them without an import.
// One file: a message is declared beside the state that keeps it and the views that draw it.

type Kind = "cam" | "map" | "signed"; // Grad-CAM, from 0 on; a signed feature map; Grad-CAM of both signs
type Scope = "layer" | "network" | "both"; // what shares one colour scale
type PictureAt = [start: number, height: number, width: number]; // in the body of a message: uint8, row by row
type Raster = { values: Uint8Array; height: number; width: number }; // row by row: steps 0..255, or three bytes of RGB
type Style = { colour: string; dashed: boolean }; // of one network, on every page

// The store, and what Streamlit tells it

interface LayerSelection {
  layer: string | null; // null: the default layer of the networks
  channel: number | null;
  scope: Scope;
  opacity: number; // per cent, 0..100
  evidence: "positive" | "signed"; // of a Grad-CAM: what supports the class, or also what opposes it
  field: "theoretical" | "effective"; // the receptive fields of that value: with "effective" both are drawn
  rows: string | null; // further rows of the strip, with commas: rows.js
  at: string | null; // the value whose arithmetic is shown: "row,column" of the chosen map, "layer:place", "probabilities"
}

/** What needs a pass through the networks: PASS_FIELDS in explore_state.py, and the networks by name. The server owns it;
 * what is chosen here is shown at once and told to it. */
interface View {
  picture: string;
  paper: string | null; // the colour under transparent parts; null: that of each network's training images
  frame: string | null; // LEFT,TOP,SIDE of a square in shares of it; null: what each network gets by itself
  target: number | null; // a class; null: what each network predicts
  layers: string; // "blocks", "main" or "all"
  change: string; // interventions, as `changes.js` reads and writes them; "" for none
  dials: string; // what changes the picture, as text: dials.js
  attack: string; // on the picture, as text: attack.js
  step: number | null; // of the training; null: the finished networks
  networks: string[];
  theme: string; // the colours of the networks depend on it
}

/** What a run of the page tells the viewer. */
interface RunData {
  token: string; // of the session
  view: View;
  tab: string; // the open tab; all but "layer" are drawn by the server
  query: string; // of the address
  visit: number; // counts how often the page was entered
  confirmed: boolean; // whether the server has heard of the selection in this visit
  heard: number; // the number of the last choice that the server has heard of
  entry: number; // counts what the server told of the selection
  initial: LayerSelection | null; // of a link, or what a control of the server changed; null where the page was entered again
  selection: LayerSelection; // what the server knows of the selection
}

interface State {
  data: RunData | null;
  view: View | null; // what is to be shown: `data.view`, with what was chosen here meanwhile
  chosen: Partial<View> | null; // what was chosen here and no run has heard of
  number: number; // of the last choice
  message: Message | null; // what is shown
  key: string | null; // of the view that the message is of
  selection: LayerSelection;
  values: Values | null; // the arithmetic that is shown
  rows: { key: string; answer: LayerRows } | null; // what is known of the rows
  offersRows: boolean; // whether their switches are to be seen, with what each costs
  started: string[]; // rows whose long measurement is wanted
  error: string; // a sentence about the last request that failed; "" for none
  live: string; // the picture of a hand at work or a camera, which the server does not keep; "" for none
  uploading: string; // the name of the file that is being read; "" for none
  uploadError: string; // a sentence about the last file that could not be shown
  sheet: Sheet | null;
}

/** Several picture files, which this page alone keeps. */
interface Sheet {
  open: boolean;
  networks: string[]; // of which the answers are
  entries: SheetEntry[];
  excess: string[]; // names of the files that are too many
}

/** Neither found nor refused: the networks have yet to be asked. */
interface SheetEntry {
  file: File;
  found: SheetMessage | null;
  error: string; // a sentence; "" for none
}

interface SheetMessage {
  answers: { name: string; probability: number | null }[]; // by network: the most probable class
  size: string;
  picture: PictureAt; // small, RGB
  body: Uint8Array;
}

type StoreEvent =
  | { type: "data"; data: RunData; fragment: LayerSelection | null }
  | { type: "select"; changes: Partial<LayerSelection> }
  | { type: "choose"; changes: Partial<View> }
  | { type: "history"; selection: LayerSelection; sheet: boolean }
  | { type: "files"; files: File[] }
  | { type: "classified"; file: File; networks: string[]; found: SheetMessage | null; error: string }
  | { type: "sheet"; open: boolean }
  | { type: "received" | "layers"; key: string; message: Message }
  | { type: "uploaded"; key: string; message: Message; frame?: string | null } // that of a drawing
  | { type: "values"; key: string; message: Message & { values: ValueData[] } }
  | { type: "rows"; key: string; answer: LayerRows }
  | { type: "offers rows"; open: boolean }
  | { type: "start"; row: string }
  | { type: "live"; key: string; message: Message; frame: string | null }
  | { type: "uploading"; name: string }
  | { type: "refused" | "failed"; error: string };

/** What a person draws, in pixels of the network's input: RGB, row by row, and 1 where the object is. */
interface Drawing {
  width: number;
  height: number;
  pixels: Uint8ClampedArray;
  mask: Uint8Array | null; // null: painted over an image
  mean: number[];
}
type Point = [x: number, y: number]; // in pixels, from the left and the top

/** Pixels that are sent as they are. `keep`: the session keeps them as a picture of its own. */
interface LiveFrame {
  kind: "drawing" | "camera";
  size: [height: number, width: number];
  mask: boolean;
  keep: boolean;
  bytes: Uint8Array<ArrayBuffer>;
}
/** Has a frame answered, and what is waiting dropped; whether the answer could be drawn. */
type Follow = (frame: LiveFrame) => Promise<boolean>;

type Draw = (state: State) => void;
/** One channel of the network at place `network` of the pair. */
interface UnitPlace {
  layer: string;
  channel: number;
  network: number;
}
type OpenUnit = (unit: UnitPlace) => boolean;

/** A person chose something that needs a pass. `dragged`: one of many, of which the server hears the last, once it `rests` ms. */
type Choose = (changes: Partial<View>, dragged?: boolean, rests?: number) => void;
/** `AimedAttack` of attacks.py. */
interface Attack {
  epsilon: number; // in levels of 255
  steps: number; // of PGD; 0: FGSM
  seed: number;
  second: boolean; // made against the second network
  least: boolean; // for the answer that is least likely
  target: number | null; // for that answer; null: any other one
}
type Dial = { label: string; unit: string; rest: number; low: number; high: number; step: number };
type Select = (changes: Partial<LayerSelection>, dragged?: boolean) => void;

type Part = "branch" | "shortcut" | "output";

/** `Intervention` of interventions.py. */
interface Change {
  place: string; // a block or layer
  part: Part;
  channel: number | null; // null: all
  action: "scale" | "mean" | "swap";
  factor: number; // of "scale"
  other: string; // a block, of "swap"
}

/** What Streamlit hands to a place: the call comes again after each run. */
interface Component<Data = unknown> {
  data: Data;
  parentElement: ParentNode & {
    viewer?: unknown;
    listening?: AbortController;
    draw?: { chosen: (changes: Partial<View>) => void; given: (files: File[]) => void };
  };
  setTriggerValue(name: string, value: unknown): void;
}

// The message of the server

/** One layer of one network in the depth strip. */
interface Cell {
  cam: PictureAt; // shares 0..255 of `largest`
  map: PictureAt; // of the most active channel: signed shares around 128 of `peak`
  signed: PictureAt; // the Grad-CAM before its ReLU: signed shares around 128 of `extent`
  largest: number | null; // of the Grad-CAM
  extent: number | null; // of the Grad-CAM before its ReLU, as absolute value
  peak: number | null; // of the feature map, as absolute value
  zero: string | null; // why the Grad-CAM is zero everywhere
  most_active: number; // the channel
  channels: number;
  shape: [height: number, width: number];
  sizes: string;
}

/** What the layer panel shows of one layer of one network. */
interface LayerData {
  numbers: [name: string, value: string][];
  channels: number;
  shape: [height: number, width: number];
  reduced: boolean; // whether the maps are smaller than the layer's
  maps: PictureAt; // of channel 0; the others follow
  stats: number; // where float32 begin, four for each channel
  chosen?: { channel: number; map: PictureAt }; // the whole map of one channel of a reduced layer
  body: Uint8Array; // the bytes that its places count from
}

/** `values.py`: where a value of a network comes from. */
type ValueData =
  | { problem: string }
  | {
      problem?: undefined;
      layer: string;
      at: number[];
      value: number | null;
      reach: [top: number, left: number, bottom: number, right: number] | null; // pixels of the input, the last included
      check: string; // a sentence: whether the value that is recomputed from these numbers is that of the pass
      same: Record<string, string[]>; // by layer that gives an input: those in front of it with its values' places
      steps: ValueStep[];
      effective?: { map: PictureAt; largest: number };
    };

/** A row of `residual_blocks.py`: the maps inside a block of one network. */
interface BlockMaps {
  key: string; // that no other row of the page has
  which: number; // network of the view
  title: string;
  maps: {
    name: string;
    caption: string;
    image: string; // "" where there is none
    alt: string;
    size: [height: number, width: number];
    layer: string | null; // whose values they are; null where no layer has them
    channel: number;
  }[];
}

interface ValueStep {
  layer: string;
  at: number[];
  value: number | null;
  operation: string;
  formula: string;
  change: string; // the intervention that made the value; "" for the network
  terms: { name: string; value: number | null; layer: string | null; at: number[] | null }[]; // "" is the picture
  window: ValueWindow | null;
}

interface ValueWindow {
  source: string | null; // a layer, "" the picture, null values that an intervention replaced
  stride: [down: number, right: number]; // from the window of one value to that of the next one
  first: [channel: number, row: number, column: number]; // below 0 in padding
  spacing: [down: number, right: number];
  shape: [channels: number, rows: number, columns: number];
  values: number; // where float32 begin, in the body
  factors: number | null; // the same
  inside: number; // where bytes begin, rows × columns: 0 is padding
  winner: [channel: number, row: number, column: number] | null;
  peak: number | null; // the largest |value| of the whole input
}

interface Values {
  key: string;
  body: Uint8Array;
  networks: ValueData[];
}

/** A line for each network along the layers of the depth strip. */
interface StripChart {
  title: string;
  alt: string;
  ticks: Mark[];
  // By layer, 0..1 of the height: those of one kind, which a line connects, and all others; null where there is none.
  series: {
    colour: string;
    dash: string;
    line: (number | null)[];
    dots: (number | null)[];
    bands?: ([low: number, high: number] | null)[]; // intervals
    faint?: boolean; // drawn beside the one that is measured
  }[];
  marks?: Mark[]; // values with a name: chance
  hover: string[]; // by layer
}

/** `rows.py`: a row of the strip that is measured on many pictures. */
interface LayerRow {
  name: string;
  title: string;
  chart: StripChart | null; // null: not measured, for the reason that the words give
  words: string[]; // sentences
  start: string | null; // what a long measurement costs, which begins once a user wants it
  pending: boolean;
}

interface LayerRows {
  layers: string[];
  rows: LayerRow[];
  costs: Record<string, string>; // by row
  progress: string; // a sentence
  done: boolean;
  csv: string;
}

interface Prediction {
  name: string;
  short: string;
  probability: number | null; // null: no finite number
  before: number | null; // the same of the pass beside this one; null where there is none
  explained: boolean;
}

interface Predictions {
  changed: boolean; // whether dials or an attack change what the networks get
  pictures: { title: string; size: string; alt: string; words: string; small: boolean; pixels: PictureAt }[]; // RGB
  networks: ({
    title: string;
    accuracy: string | null;
    beside: "clean" | "untouched" | null; // without the attack, or without interventions
    classes: Prediction[]; // the most probable first
    right: boolean | null; // null: the label is unknown
    part: [left: number, top: number, width: number, height: number]; // of the original that the network gets, 0..1
    verdict: string;
  } & Style)[];
  paper: string | null; // the colour under transparent parts; null: there are none
  finding: string; // of two networks
  note: string | null;
}

/** `introduction.py` */
interface Introduction {
  heading: string;
  twins: [first: string, second: string] | null; // titles
  known: string; // the classes
  offer: { why: string; words: string; networks: string[] } | null; // networks that may know the picture
}

/** `film.py`: the steps whose weights are kept, without those at which all networks are the finished ones. */
interface Film {
  steps: number[]; // they rise
  last: number; // of the training
  note: string; // sentences
}

/** What a page that the server draws is told of the film, and tells: `plays` where the next step is about to come. */
interface FilmData {
  film: Film | null;
  step: number | null;
  heard: number; // the number of the last choice that the page has heard of
}
interface FilmChoice {
  step: number | null;
  plays: boolean;
  number: number;
}

/** `depths.py`: test accuracy against depth of the pretrained twins, the shallowest first. */
interface DepthChart {
  title: string;
  lines: { title: string; colour: string }[]; // plain, ResNet
  points: {
    depth: number; // layers
    shares: number[]; // 0..1, by line
    words: string;
    networks: string[]; // of the link
    picture: string | null; // on which they part; null: the picture stays
    shown: boolean;
  }[];
}

/** `changes.py` */
interface NetworkChanges {
  change: string; // the interventions in this network
  effect: string; // what came of those of the view, as a sentence; "" for none
  blocks: { name: string; residual: boolean; keeps: boolean; next: string | null }[]; // in execution order; `next`: can be swapped with it
  distances: (number | null)[] | null; // |a' - a| / |a| from another pass, by layer; null where there is no such number
}

interface Message {
  picture: string;
  source: string; // of a saved picture: networks, data, seeds, picture and n
  introduction: Introduction;
  depths: DepthChart | null;
  film: Film | null; // null: no weights of the past are kept
  layer: string | null; // the layer that is shown where none is chosen
  mean: number[]; // RGB 0..255 of what the first network was trained on
  columns: { name: string; label: string; kind: string; block: string | null }[]; // the block that the layer is inside of
  groups: { label: string; title: string; span: number }[];
  palettes: Record<Kind, number>; // where the 256 colours of each begin
  networks: (NetworkChanges & {
    title: string;
    target: string;
    cells: (Cell | null)[];
    input: PictureAt;
    layers: Record<string, LayerData>;
  } & Style)[];
  maxima: Record<Kind, { layer: number[][]; network: number[]; both: number[] }>; // the end of each colour scale, by network
  charts: StripChart[];
  distance: string | null; // what `distances` are from; null where no network has any
  attack: { sentences: string[]; change: PictureAt | null } | null; // RGB, ten times as large; null: it was not possible
  predictions: Predictions;
  prefetch: boolean; // whether all layers are small enough to be fetched ahead
  every: boolean; // whether all layers have come
  sheets?: Record<string, string>; // the pictures of a scene, by its number
  body: Uint8Array<ArrayBuffer>;
}

/** `bar.py`. `known` numbers the sets of classes; `classes` are those of one of them. `view` counts without the viewer. */
interface BarData extends GalleryData {
  token: string;
  view: View;
  title: string; // of the picture
  limit: number; // megabytes of a file
  mixed: boolean; // whether the two networks may know different classes
  alone: boolean; // whether one network may stand alone
  networks: { name: string; label: string; group: string; known: number }[];
  twins: Record<string, string>;
  classes: string[];
  known: number;
  photos: { name: string; title: string; source: string }[];
}

/** `pick` opens a picture of the contact sheet. */
interface SheetActions {
  pick(file: File): void;
  show(open: boolean): void;
}

/** The scene of `bar.py`. */
interface GalleryData {
  picture: string;
  shown: boolean; // whether it is the picture of the view
  names: string[];
  strange: boolean[];
  columns: number;
  scenes: number;
  sheets: Record<string, string>;
}

// Saved pictures

interface SavedBar {
  source: HTMLCanvasElement | HTMLImageElement;
  title: string;
  ends: [low: string, high: string];
}

/** What is saved as a file. */
interface Subject {
  parts: Element[]; // one canvas, or elements of the page, which are drawn under each other as they are seen
  caption: string;
  bars?: SavedBar[];
  cells?: [columns: number, rows: number]; // of the canvas, with lines between them
}

type FileKind = "png" | "svg";

/** What a saved picture is drawn on: the context of a canvas, or what writes the same as SVG. */
type Paper = Pick<
  CanvasRenderingContext2D,
  "font" | "fillStyle" | "textAlign" | "textBaseline" | "globalAlpha" | "imageSmoothingEnabled" | "fillText" | "fillRect" | "measureText"
> &
  Pick<CanvasRenderingContext2D, "save" | "restore" | "translate" | "scale" | "rotate" | "beginPath" | "rect" | "clip"> & {
    drawImage(image: CanvasImageSource, left: number, top: number, width: number, height: number): void;
  };

type Corner = { x: number; y: number }; // top left, in pixels of the page
type Box = { left: number; top: number; width: number; height: number }; // in pixels

/** `chart` of charts.py. */
interface FigureData {
  name: string; // that no other chart of the page has
  caption: string;
}

// Charts

type Span = [from: number, to: number];
type ChartView = { x: Span; y: Span }; // in steps or depths and shares of the height, or in columns and rows
type Frame = Box & ChartView; // of a panel, with the data at its left and right, top and bottom
type Layout = { left: number; gap: number; height: number; columns: number }; // `left`: room for the names of rows
type Cursor = { x: number; y: number; panel?: number }; // in data
type PointerPlace = { x: number; y: number; panel: number; left: number; top: number; frame: Frame }; // in data and in pixels
type Drag = { from: PointerPlace; now: PointerPlace | null; moves: boolean; view: ChartView }; // `view`: as it began

/** The values at a place. */
interface Reading {
  heading: string;
  rows: [colour: string, name: string, value: string][];
}

/** Where one panel is drawn. */
interface Surface {
  index: number; // of the panel
  frame: Frame;
  svg: Element; // for what stands beside the frame
  inside: Element; // cut off at the frame
  until: number; // the last step that is drawn
  id: string; // that no other panel has
}

/** One kind of chart of one set of data. */
interface Panels {
  isMap: boolean; // whether it has columns and rows, or steps and values
  full: ChartView;
  least: number; // steps, cells or depths that a view shows
  axis: string; // what x is
  panels: { title: string; colour?: string }[];
  layout(width: number): Layout;
  spanY(index: number, view: ChartView | null): Span;
  draw(surface: Surface): void;
  mark(over: Element, frame: Frame, cursor: Cursor): void;
  read(cursor: Cursor, until: number): Reading;
  legend(): Node[]; // above the drawing
  bar(): Node[]; // below it
}

/** A chart that the pointer and keys move. */
interface Chart {
  panels: Panels | null;
  view: ChartView | null; // null shows everything and follows what arrives
  cursor: Cursor | null;
  drag: Drag | null;
  frames: Frame[];
  look(view: ChartView | null): void; // shows another view
  point(): void; // shows the cursor and the drag
  speak(): void; // reads the values under the cursor out
}

type LineLook = { name: string; points: boolean } & Style;
type Line = LineLook & { x: number[]; y: (number | null)[] }; // null where the value is no finite number
type LinePanel = { title: string; percent: boolean; lines: Line[] };

type DialMark = { x: number; text: string }; // from that step on; in the order of the steps

/** `training_curves` of live.py. */
interface LineData {
  kind: "curves";
  source?: string; // of a saved picture: data, n and seed
  about: string;
  alt: string;
  last: number; // step
  legend: LineLook[];
  panels: LinePanel[];
  marks?: DialMark[]; // where a user turned dials
}

type Mark = { label: string; at: number }; // `at` is a share of the bar's length
type BarImage = { image: string; title: string };

/** `gradient_maps` of live.py. */
interface MapData {
  kind: "map";
  source?: string; // of a saved picture: data, n and seed
  about: string;
  alt: string;
  rows: string[]; // layers, from the input on
  columns: number[]; // training steps
  groups: { label: string; start: number; end: number }[]; // rows of one stage
  panels: { title: string; colour: string; image: string; sizes: (number | null)[][] }[]; // null: not measured
  bar: BarImage & { ticks: Mark[]; zero: string };
}

type ProfileLook = { name: string; squares: boolean; width: number } & Style; // without a colour a legend has words alone

/** One network: the median, smallest and largest size of the n at each layer, null where none is finite. */
interface ProfileLine extends ProfileLook {
  label: string; // at the line
  n: number;
  layers: string[];
  x: number[]; // relative depth, 0..1
  median: (number | null)[];
  low: (number | null)[];
  high: (number | null)[];
  zeros: number[]; // how many of the n are exactly 0
  lost: number[]; // how many of the n are not finite
}

/** `profile` of profiles.py. */
interface ProfileData {
  kind: "profile";
  source?: string; // of a saved picture: data, n and seed
  alt: string;
  size: string; // what is measured
  sample: string; // what is counted by n
  decades: Span; // powers of ten
  lost: boolean; // whether anything is not finite
  legend: ProfileLook[];
  panels: { title: string; lines: ProfileLine[] }[];
}

type Heights = { zero: number; top: number; span: Span; place(size: number | null): number | null };
type ChartData = LineData | MapData | ProfileData;

interface CardNumbers {
  about: string; // n, seeds and pictures
  chart: ProfileData;
  head: string[];
  rows: string[][];
  csv: string;
  file: string;
}

/** `show_results` of results.py. */
interface CardsData {
  cards: {
    title: string;
    setting: string;
    query: string; // of its view of the page
    shown: boolean; // whether that is the view
    sentence: string;
    numbers: CardNumbers | null; // null: not measured here
  }[];
}

/** `show_steps` of steps.py: the recorded steps of a training. */
interface StepsData {
  networks: string; // names what is recorded
  steps: number[];
  step: number; // of the address
  chart: ProfileData; // of the first step
  sizes: (number | null)[][][]; // by step, line and layer
  sentences: string[]; // by step
  curves: LineData | null; // of the accuracy
}

type SlowPhase = "batch" | "forward" | "loss" | "backward" | "update" | "after";

/** One network of a training step. Lists go by layer, or by image. */
interface SlowNetwork {
  title: string;
  colour: string;
  dashed: boolean;
  layers: string[];
  stages: [title: string, start: number, end: number][];
  lanes: (number | null)[][]; // activation, weight gradient, update over weights
  losses: (number | null)[];
  after: (number | null)[];
  path: (number | null)[]; // by the shares of the update
  predicted: number | null;
  norm: number | null; // of the whole gradient
  worked: string[][]; // the rule with numbers
  finding: string;
}

/** `_drawn` of slow_step.py: one training step. */
interface SlowData {
  key: string; // names the step
  at: number; // place in the address
  source: string;
  phases: Record<SlowPhase, string>;
  lanes: string[]; // titles
  decades: Span[]; // of each lane
  pictures: string[];
  labels: string[];
  shares: number[];
  rule: string[];
  settings: string[]; // by network
  networks: SlowNetwork[];
}

/** Where the slow motion is: `index` counts the layers of a pass from 0. */
type SlowPlace = { phase: SlowPhase; index: number };

// Test pictures that a training looks at again and again

type Answers = [classes: number[], shares: (number | null)[]]; // of a network: null is no finite number

interface Samples {
  alt: string;
  source: string; // of a saved picture
  pictures: string[];
  labels: number[];
  names: string[]; // of all classes
  networks: { title: string; colour: string }[];
}

/** `predictions` of live.py. */
interface AnswersData extends Samples {
  kind: "predictions";
  frames: { step: number; networks: Answers[] }[];
}

/** Where one network looks at one step. */
interface Looks {
  size: [height: number, width: number];
  tops: (number | null)[]; // the largest value of each map; null: no finite number
  maps: string[]; // uint8 shares 0..255 of the largest value, as base64
  answers: Answers;
}

/** `cams` of live.py. */
interface CamsData extends Samples {
  kind: "cams";
  layer: string;
  palette: string; // 256 colours, as base64
  opacity: number; // where the heat is largest
  bar: BarImage;
  frames: { step: number; networks: Looks[] }[];
}

/** `parts` of replay.py. */
interface ReplayData {
  last: number; // step
  curves: LineData;
  map: MapData | null;
  cams: CamsData;
  predictions: AnswersData;
}

// Maps of several networks, aligned by relative depth

interface AlignedCell {
  layer: string;
  words: [layer: string, size: string, largest: string];
  image: string;
  zero: boolean; // whether the map is zero everywhere
  hover: string;
}

/** `aligned_maps` of aligned.py. */
interface AlignedData {
  grid: string; // "true": the pixels of the maps are seen
  depths: string[];
  chosen: number; // one of them
  caption: string;
  bar: string; // the colours of the scale, as a picture
  title: string; // of the scale
  ends: [low: string, high: string]; // of the scale
  networks: { title: string; colour: string; input: string; seen: string; cells: AlignedCell[] }[];
}
