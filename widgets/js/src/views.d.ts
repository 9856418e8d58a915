// Made by `make views` from the screen's seam/ and the actions' signatures: change those; a test compares.
declare namespace View {
  /** A panel that the head leads to. */
  interface Region {
    panel: string;
    label: string;
  }
  /** A panel that the tour stops at. */
  interface Stop {
    panel: string;
    title: string;
    text: string;
  }
  /** The title of the page, the way to its regions, and the tour of them. */
  interface HeadView {
    title: string;
    subtitle: string;
    regions: Region[];
    tour: Stop[];
  }
  /** A cost before and after the recipe; `share` is what is left of it, in percent. */
  interface PredictedRow {
    name: string;
    label: string;
    before: string;
    after: string;
    change: string;
    trend: string;
    share: number;
  }
  /** Every cost that is known before anything runs. */
  interface PredictionView {
    rows: PredictedRow[];
    note: string;
  }
  /** A figure of a card, and what it is. */
  interface Fact {
    label: string;
    text: string;
  }
  /** A model to choose. */
  interface ModelCard {
    name: string;
    figures: Fact[];
  }
  /** A study of before: its folder's name, what it is about, and why it cannot be opened. */
  interface Earlier {
    folder: string;
    name: string;
    about: string;
    problem: string;
    shown: boolean;
  }
  /** An image as a data URI, and the name of its class. */
  interface Sample {
    name: string;
    picture: string;
  }
  /** What is measured on; `back` is the button to the data of before, where there is such. */
  interface DataAbout {
    sentence: string;
    samples: Sample[];
    back: string;
  }
  /** A collection of networks; `command` installs it where it is not. */
  interface Zoo {
    name: string;
    installed: boolean;
    hint: string;
    command: string;
    example: string;
  }
  /** What can be loaded beside the bundled models; `limit` is an upload's, in bytes. */
  interface Sources {
    accept: string;
    limit: number;
    hint: string;
    too_large: string;
    paths: boolean;
    zoos: Zoo[];
  }
  /** The gallery, and what is chosen of it. */
  interface ModelsView {
    cards: ModelCard[];
    selected: string;
    busy: boolean;
    waiting: string;
    about: string;
    kept: string;
    earlier: Earlier[];
    problems: string[];
    data: DataAbout | null;
    others: Sources | null;
  }
  /** What edits one setting. `value` is a flag's; all others are shown and typed as `text`. */
  interface Control {
    low: number | null;
    high: number | null;
    step: number;
    stops: number[];
    prefix: string;
    name: string;
    label: string;
    help: string;
    widget: "slider" | "text" | "choice" | "flag";
    text: string;
    value: boolean | null;
    problem: string;
    unit: string;
    free: boolean;
    choices: string[];
    suggestions: string[];
  }
  /** One step: its first control, and the others behind a fold. `idle`: it is planned, and changes nothing. `key` is the same wherever the step is moved to, unless another of its kind is passed. */
  interface StepCard {
    key: string;
    index: number;
    title: string;
    summary: string;
    on: boolean;
    reach: string;
    idle: boolean;
    main: Control[];
    more: Control[];
  }
  /** A step of the menu, or a recipe of the catalogue. */
  interface Technique {
    name: string;
    title: string;
    summary: string;
  }
  /** Techniques that belong together. */
  interface Family {
    family: string;
    steps: Technique[];
  }
  /** The recipe being edited; `focus` is the index of the step that was touched last. */
  interface RecipeView {
    steps: StepCard[];
    menu: Family[];
    ready: Technique[];
    hint: string;
    can_undo: boolean;
    can_redo: boolean;
    focus: number;
    code: string;
    yaml: string;
  }
  /** A job on its way or at its end; `left` is how many seconds it still needs, where that is known. */
  interface JobLine {
    id: number;
    name: string;
    state: string;
    active: boolean;
    percent: number;
    stage: string;
    seconds: number;
    left: number | null;
    details: string[];
  }
  /** The button that runs the recipe, and the jobs. */
  interface RunView {
    enabled: boolean;
    label: string;
    note: string;
    jobs: JobLine[];
  }
  /** A column's heading, which sorts by it; columns of heat are shaded by their values. */
  interface Heading {
    key: string;
    label: string;
    numeric: boolean;
    unit?: string;
    heat?: boolean;
  }
  /** A cell that is shaded by `heat` in [0, 1]; `trend` is the class of a change that is better or worse. */
  interface HeatCell {
    value: number | null;
    text: string;
    heat: number;
    sub?: string;
    trend?: string;
    title?: string;
  }
  /** What a step does to a layer, or to the `part` of it that an earlier step has made. */
  interface LayerAction {
    step: string;
    part: string;
    text: string;
    applies: boolean;
  }
  /** A layer of the original; `module` names it in recipes, `main` are those with MACs. */
  interface LayerRow {
    id: string;
    module: string;
    main: boolean;
    kind: string;
    shape: string;
    cells: HeatCell[];
    actions: LayerAction[];
    error: HeatCell;
    chosen: boolean;
  }
  /** A button that measures something of every layer. */
  interface Ask {
    action: "times" | "sensitivity";
    label: string;
    enabled: boolean;
    hint: string;
  }
  /** A Vega-Lite specification apart from its rows, and the chart in words. */
  interface Drawing {
    spec: Record<string, any>;
    rows: (Record<string, any>)[];
    summary: string;
  }
  /** One of several to choose from. */
  interface Option {
    value: string;
    label: string;
  }
  /** The layers before and after the recipe. Without a chart nothing is known of them yet. */
  interface LayersView {
    columns: Heading[];
    rows: LayerRow[];
    asks: Ask[];
    chart: Drawing | null;
    cost: string;
    costs: Option[];
    scope: string;
    chosen: number;
    summary: string;
    note: string;
    empty: string;
  }
  /** A row of the limits: a figure, the words before its number and the unit behind, and why it cannot be read. */
  interface SearchLimit {
    figure: string;
    figures: Option[];
    words: string;
    text: string;
    unit: string;
    problem: string;
  }
  /** A point of the predicted front; `id` takes its recipe to the editor. */
  interface SearchPoint {
    id: string;
    name: string;
    value: string;
    loss: string;
    gap: string;
    measured: boolean;
  }
  /** What is proved of the best on one split, as a sentence; `passes` where it keeps to the limit. */
  interface Proof {
    text: string;
    passes: boolean;
  }
  /** A layer of the best: the channels that it keeps, what was chosen, what came second, what that would cost. */
  interface SearchReason {
    layer: string;
    kept: string;
    chosen: string;
    second: string;
    cost: string;
  }
  /** What was found; `id` is "" where nothing keeps to the limits. */
  interface SearchFound {
    id: string;
    name: string;
    verdict: string;
    proofs: Proof[];
    tried: string;
    why: SearchReason[];
    why_note: string;
    notes: string[];
  }
  /** What a search is asked for, and the latest one of the study that is shown. */
  interface SearchView {
    ready: boolean;
    minimise: string;
    goals: Option[];
    minutes: string;
    minutes_hint: string;
    minutes_problem: string;
    train: boolean;
    train_hint: string;
    limits: SearchLimit[];
    more: boolean;
    label: string;
    problem: string;
    job: JobLine | null;
    said: string;
    heads: string[];
    front: SearchPoint[];
    found: SearchFound | null;
  }
  /** The columns of the chart of trade-offs. */
  interface ChartAxes {
    x: string;
    y: string;
    size: string;
  }
  /** The limits as typed, why they cannot be read, and how many variants keep them. */
  interface LimitField {
    text: string;
    problem: string;
    said: string;
  }
  /** An axis' limit as a rule to drag, in the axis' unit; `low` where it is the least that is allowed. */
  interface LimitRule {
    axis: "x" | "y";
    label: string;
    sign: string;
    low: boolean;
    value: number | null;
    unit: string;
    column: string;
  }
  /** Where the variants were measured that were not measured here, and the button that measures them. */
  interface Elsewhere {
    text: string;
    button: string;
    busy: boolean;
  }
  /** A chart over all variants. `axes` is the trade-off's, `shown` that of the parallel axes. */
  interface ChartView {
    spec: Record<string, any>;
    rows: (Record<string, any>)[];
    summary: string;
    tabs: Option[];
    tab: string;
    axes: ChartAxes | null;
    log: string[];
    options: Option[];
    shown: string[] | null;
    limit: LimitField;
    rules: LimitRule[];
    caption: string;
    elsewhere: Elsewhere | null;
    empty: string;
  }
  /** A variant's mark in the charts, as the path of an SVG. */
  interface Mark {
    path: string;
    colour: string;
    label: string;
    hollow: boolean;
  }
  /** What the user says of a variant; `usual` is its name without that. */
  interface Label {
    name: string;
    usual: string;
    tags: string[];
    text: string;
    archived: boolean;
    archivable: boolean;
    deletable: boolean;
  }
  /** A text, the value that it is sorted by (None comes last), and what stands small beneath. */
  interface Cell {
    value: number | string | null;
    text: string;
    sub?: string;
  }
  /** A variant's figures, in the order of the columns; `depth` is its place in the lineage. `label`: what the user says of it; None where it was measured elsewhere. */
  interface VariantRow {
    id: string;
    name: string;
    mark: Mark;
    grey: boolean;
    remark: string;
    why: string;
    depth: number;
    label: Label | null;
    cells: Cell[];
  }
  /** All variants. `options` are the columns that can be shown, `files` what the table can be taken as. `hidden` counts archived variants, `beside` are the ids of those that stand side by side. */
  interface TableView {
    columns: Heading[];
    rows: VariantRow[];
    lineage: boolean;
    archived: boolean;
    hidden: number;
    options: Option[];
    beside: string[];
    files: string[];
    empty: string;
    note: string;
  }
  /** A variant that stands side by side with others. */
  interface BesideName {
    id: string;
    name: string;
  }
  /** A figure with its interval, and its paired difference from that of the first. */
  interface BesideCell {
    text: string;
    sub: string;
    change: string;
    trend: string;
  }
  /** A figure, a layer or a class: one cell a variant. */
  interface BesideRow {
    label: string;
    cells: BesideCell[];
  }
  /** An image as a data URI, what it is, and both answers. */
  interface Picture {
    url: string;
    label: string;
    before: string;
    after: string;
    sure: string;
    alt: string;
  }
  /** The images of one kind of change, of `total` the surest. */
  interface PictureKind {
    value: string;
    label: string;
    meaning: string;
    total: number;
    note: string;
    pictures: Picture[];
  }
  /** The kinds of change that there are. */
  interface PicturesView {
    kinds: PictureKind[];
  }
  /** What a variant answers otherwise than the first, in sentences and pictures. */
  interface BesideImages {
    name: string;
    sentences: string[];
    pictures: PicturesView | null;
  }
  /** Variants side by side; with fewer than two there is nothing to show but `empty`. */
  interface BesideView {
    variants: BesideName[];
    empty: string;
    figures: BesideRow[];
    cost: string;
    layers: BesideRow[];
    classes: BesideRow[];
    images: BesideImages[];
    missing: string;
    busy: boolean;
    asked: boolean;
  }
  /** A figure with its interval, and its change against the original. */
  interface Figure {
    label: string;
    text: string;
    interval: string;
    change: string;
    trend: string;
  }
  /** A variant that this one can be compared with. */
  interface OtherVariant {
    id: string;
    name: string;
  }
  /** A step that only one of the two recipes has. */
  interface StepOfOne {
    only: string;
    step: string;
  }
  /** A figure of both, and what becomes of it. */
  interface FigureOfBoth {
    label: string;
    one: string;
    two: string;
    change: string;
    trend: string;
  }
  /** A layer that differs, in the order of the columns. */
  interface LayerOfBoth {
    layer: string;
    cells: string[];
  }
  /** A class that is answered otherwise, and whether that could be chance. */
  interface ClassOfBoth {
    name: string;
    one: string;
    two: string;
    change: string;
    sure: string;
    taken: string;
  }
  /** Class by class and image by image. */
  interface Answers {
    sentences: string[];
    classes: ClassOfBoth[];
    pictures: PicturesView | null;
  }
  /** What becomes of the first variant in the second: differences only. */
  interface ComparisonView {
    names: string[];
    recipe: StepOfOne[];
    figures: FigureOfBoth[];
    columns: string[];
    layers: LayerOfBoth[];
    same: string;
    missing: string;
    busy: boolean;
    answers: Answers | null;
  }
  /** A file to download, its size in bytes and in words. */
  interface ExportedFile {
    name: string;
    bytes: number;
    size: string;
  }
  /** The latest export; `key` is another one for each. */
  interface Exported {
    key: string;
    sentence: string;
    folder: string;
    files: ExportedFile[];
  }
  /** The chosen variant; `id` is "" where none is. */
  interface VariantView {
    id: string;
    name: string;
    empty: string;
    tag: string;
    verdict: string;
    reason: string;
    figures: Figure[];
    notes: string[];
    label: Label | null;
    others: OtherVariant[];
    compared: string;
    comparison: ComparisonView | null;
    formats: string[];
    missing: string;
    exporting: boolean;
    exported: Exported | null;
  }
  /** A layer's error with those before it, its own, and what is clipped of its results. */
  interface LayerError {
    layer: string;
    operator: string;
    note: string;
    changed: boolean;
    cells: HeatCell[];
  }
  /** What the recipe up to a step gets right, and what this step has lost. */
  interface StepScore {
    step: string;
    score: string;
    drop: string;
  }
  /** A class that lost, and what it is taken for. */
  interface ClassDrop {
    name: string;
    drop: string;
    taken: string;
  }
  /** Layers that were restored, and the loss that was left. */
  interface Trial {
    restored: string;
    left: string;
  }
  /** The least set of layers that explains the loss. */
  interface BisectionView {
    sentences: string[];
    layers: string[];
    trials: Trial[];
  }
  /** The chosen variant's diagnosis and bisection; `id` is "" where nothing can be diagnosed. */
  interface DiagnosisView {
    chart: Drawing | null;
    layers: LayerError[];
    steps: StepScore[];
    classes: ClassDrop[];
    pictures: PicturesView | null;
    id: string;
    name: string;
    empty: string;
    busy: boolean;
    sentences: string[];
    bisection: BisectionView | null;
  }
  /** The latest message; `kind` is info, busy or error. */
  interface StatusView {
    text: string;
    kind: string;
  }
  /** To what was asked about the part of a file from `offset` on: it is `done`, or why not. Bytes come beside it. */
  interface Answer {
    file?: string;
    offset?: number;
    done?: boolean;
    error?: string;
  }
  /** What each panel shows. */
  interface Panels {
    head: HeadView;
    prediction: PredictionView;
    models: ModelsView;
    recipe: RecipeView;
    run: RunView;
    layers: LayersView;
    search: SearchView;
    chart: ChartView;
    table: TableView;
    beside: BesideView;
    variant: VariantView;
    diagnosis: DiagnosisView;
    status: StatusView;
  }
  /** What the user can do, and what goes with it. */
  interface Actions {
    add: { name: string };
    remove: { index: number };
    move: { index: number; by: number };
    switch: { index: number; on: boolean };
    focus: { index: number };
    undo: {};
    redo: {};
    toggle: { layer: string };
    scope: { layers: string[] };
    cost: { cost: string };
    select: { id: string };
    axis: { axis: string; column: string };
    tab: { tab: string };
    size: { column: string };
    log: { axis: string; on: boolean };
    limit: { text: string };
    lineage: { on: boolean };
    drag: { axis: string; value: number | null };
    parallel: { column: string; on: boolean };
    compare: { id: string };
    dismiss: {};
    columns: { column: string; on: boolean };
    usual_columns: {};
    archived: { on: boolean };
    beside: { id: string; on: boolean };
    nothing_beside: {};
    against: { id: string };
    want: { minimise: string };
    want_time: { minutes: string };
    want_training: { on: boolean };
    bind: { index: number; figure: string; text: string };
    bind_more: {};
    unbind: { index: number };
    take_promise: { name: string };
    choose: { name: string };
    open: { path: string };
    zoo: { zoo: string; name: string; trained: boolean };
    home_data: {};
    set: { index: number; name: string; value: any; final?: boolean };
    edit: {};
    ready: { name: string };
    remeasure: {};
    search: {};
    take_found: {};
    run: {};
    cancel: { job: number };
    export: { format: string };
    sensitivity: {};
    times: {};
    diagnose: {};
    bisect: {};
    restore: { layers: string[] };
    answers: {};
    rename: { name: string };
    tag: { tags: string };
    annotate: { text: string };
    delete: {};
    archive: { on: boolean };
    answers_beside: {};
    reopen: { folder: string };
    look: {};
    again: {};
    piece: { file: string; offset: number; length: number };
    upload: { file: string; size: number; offset: number };
  }
}
