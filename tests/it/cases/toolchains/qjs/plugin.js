// A function for componentize-qjs alone, against the WIT: no template, no SDK.
import host from "tidegate:plugin/host@0.1.0";

export const lifecycle = {
  configure() {},
};

export const transformer = {
  transform(batch) {
    host.log("info", `${batch.length} events`);
    return batch.map((text) => {
      const event = JSON.parse(text);
      if (event.type === "page") return { tag: "keep" };
      return { tag: "replace", val: JSON.stringify({ ...event, words: event.event.split(" ").length }) };
    });
  },
};
