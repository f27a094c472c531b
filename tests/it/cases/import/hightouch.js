// Drops internal events and adds the total in cents.
function transformEvents(events) {
  return events
    .filter((event) => !(event.type === "track" && event.event.startsWith("Internal")))
    .map((event) => {
      if (event.type !== "track") return event;
      return {
        ...event,
        properties: { ...event.properties, total_cents: Math.round((event.properties?.total ?? 0) * 100) },
      };
    });
}
