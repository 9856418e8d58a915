// Sends a file in pieces through the widget's own channel: no server route, and no message that a server refuses.
const PIECE = 1 << 19; // bytes a message
const PATIENCE = 30000; // ms until the kernel must have answered

export async function upload(model, file, report) {
  for (let offset = 0; offset < file.size || offset === 0; offset += PIECE) {
    const content = await file.slice(offset, offset + PIECE).arrayBuffer();
    await piece(model, { action: "upload", file: file.name, size: file.size, offset }, content);
    report(Math.min(1, (offset + PIECE) / Math.max(1, file.size)));
  }
}

function piece(model, message, content) {
  return new Promise((resolve, reject) => {
    const done = (then, value) => {
      clearTimeout(timer);
      model.off("msg:custom", receive);
      then(value);
    };
    const receive = (answer) => {
      if (answer.file !== message.file || answer.offset !== message.offset) return;
      if (answer.error) done(reject, new Error(answer.error));
      else done(resolve);
    };
    const timer = setTimeout(() => done(reject, new Error("The kernel did not answer within 30 s.")), PATIENCE);
    model.on("msg:custom", receive);
    model.send(message, undefined, [content]);
  });
}
