// Files in pieces, through the widget's own channel: no server route, and no message that a server refuses.
const PATIENCE = 30000; // ms until the kernel must have answered

// Sends one message about a piece of a file; resolves to the buffers of the kernel's answer to it.
/**
 * @param {WidgetModel} model
 * @param {{ action: "piece" } & View.Actions["piece"] | { action: "upload" } & View.Actions["upload"]} message
 * @param {ArrayBuffer[]} [content]
 * @returns {Promise<DataView<ArrayBuffer>[]>}
 */
export function ask(model, message, content = []) {
  return new Promise((resolve, reject) => {
    /** @type {<T>(then: (value: T) => void, value: T) => void} */
    const done = (then, value) => {
      clearTimeout(timer);
      model.off("msg:custom", receive);
      then(value);
    };
    /** @param {View.Answer} answer @param {DataView<ArrayBuffer>[]} buffers */
    const receive = (answer, buffers) => {
      if (answer.file !== message.file || answer.offset !== message.offset) return;
      if (answer.error) done(reject, new Error(answer.error));
      else done(resolve, buffers);
    };
    const timer = setTimeout(() => done(reject, new Error("The kernel did not answer within 30 s.")), PATIENCE);
    model.on("msg:custom", receive);
    try {
      model.send(message, undefined, content);
    } catch {
      done(reject, new Error("The kernel behind this screen has ended."));
    }
  });
}
