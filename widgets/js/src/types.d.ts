// What the panels are given beside their views, whose types stand in views.d.ts.

/** Of the sources that the module was built from. */
declare const __VERSION__: string;

/** What a panel's widget shares with Python; widgets/page.py says what each is. */
interface Shared {
  panel: keyof View.Panels;
  view: object;
  selected: string;
}

/** A signal of JupyterLab. */
interface Signal<T> {
  connect(listener: (sender: unknown, value: T) => void): void;
  disconnect(listener: (sender: unknown, value: T) => void): void;
}

/** A widget as anywidget gives it in a notebook, and page/model.js in the dashboard. */
interface WidgetModel {
  get<Name extends keyof Shared>(name: Name): Shared[Name];
  on(names: string, listener: (...details: any[]) => void): void;
  off(names: string, listener: (...details: any[]) => void): void;
  send(content: object, callbacks?: object, buffers?: (ArrayBuffer | ArrayBufferView)[]): unknown;
  widget_manager?: { kernel?: { statusChanged?: Signal<string>; connectionStatusChanged?: Signal<string> } };
}

/** Tells Python what the user did in a panel. */
type Send = <Name extends keyof View.Actions>(
  action: Name,
  ...detail: {} extends View.Actions[Name] ? [detail?: View.Actions[Name]] : [detail: View.Actions[Name]]
) => void;

/** What a panel draws: its view; the variant or the layers that are chosen; and that its kernel is lost, in words. */
interface Props<Name extends keyof View.Panels> {
  view: View.Panels[Name] & { chosen_id: string; lost: string };
  send: Send;
  model: WidgetModel;
}
