// All that another picture changes, from one message of overview.py.
export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const [around, root] = [parentElement.querySelector(".around"), parentElement.querySelector(".strip")];
  // Takes a message: of a run of the page, or of the address that answers without one.
  const take = (bytes) => {
    const pack = unpack(bytes);
    depth.drawing = pack;
    depth.token = pack.token;
    keepSheets(pack.sheets);
    follow({ ...pack.seen, drawing: pack.key });
    if (pack.inside) arrived(pack.inside, pack.key, pack.body);
    const said = `${pack.key} ${JSON.stringify(pack.predictions)}`;
    if (root.said !== said) showPredictions(around, pack.predictions, pack.body);
    root.said = said;
    if (root.key !== pack.key) fill(root, pack);
    depth.gallery?.adopt(pack.picture, pack.picture.startsWith("sample-"));
  };
  if (root.data !== data) {
    root.data = data;
    depth.awaited = 0;
    take(data);
  }
  const part = stripPart(root);
  depth.take = take;
  holdFiles();
  const look = (view) => setTriggerValue("view", view);
  depth.look = look;
  depth.parts.set("strip", part);
  show();
  return () => {
    if (depth.parts.get("strip") === part) depth.parts.delete("strip");
    if (depth.look === look) depth.look = null;
    if (depth.take === take) depth.take = null;
  };
}
