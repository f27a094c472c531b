import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.ToNumberPolicy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Reads the known events, waits for the SDK to report on each, and prints the line a client ends with. */
final class Known {
  static final String URL = System.getenv("TIDEGATE_URL");
  static final String WRITE_KEY = System.getenv("TIDEGATE_WRITE_KEY");
  static final String RUN = System.getenv("TIDEGATE_RUN");
  static final String USER = RUN + "-user";

  // An integer of the file stays an integer on the wire.
  private static final Gson GSON =
      new GsonBuilder().setObjectToNumberStrategy(ToNumberPolicy.LONG_OR_DOUBLE).create();

  private final Map<String, Map<String, Object>> events;
  private final CountDownLatch sent = new CountDownLatch(29);
  private volatile Throwable failure;

  @SuppressWarnings("unchecked")
  Known() throws Exception {
    events = (Map<String, Map<String, Object>>)
        (Object) GSON.fromJson(Files.readString(Path.of(System.getenv("TIDEGATE_SDK_EVENTS"))), Object.class);
  }

  Map<String, Object> marked(String name) {
    return marked(events.get(name));
  }

  @SuppressWarnings("unchecked")
  Map<String, Object> pageProperties() {
    return marked((Map<String, Object>) events.get("page").get("properties"));
  }

  String pageName() {
    return (String) events.get("page").get("name");
  }

  static String trackName(int n) {
    return n % 2 == 0 ? "Order Completed" : "Product Viewed";
  }

  Map<String, Object> trackProperties(int n) {
    Map<String, Object> properties = marked(trackName(n));
    properties.put("n", n);
    return properties;
  }

  void success() {
    sent.countDown();
  }

  void failure(Throwable error) {
    failure = error;
    sent.countDown();
  }

  void done(String sdk, String version) throws Exception {
    if (!sent.await(45, TimeUnit.SECONDS) || failure != null) {
      System.err.println("the SDK leaves " + sent.getCount() + " events unsent, last error: " + failure);
      System.exit(1);
    }
    System.out.printf(
        "{\"sdk\":\"%s\",\"version\":\"%s\",\"expected\":{\"tracks\":25,\"identifies\":1,\"pages\":1,\"groups\":1,"
            + "\"aliases\":1,\"order_completed\":13,\"product_viewed\":12},\"run\":%s}%n",
        sdk, version, GSON.toJson(RUN));
  }

  private static Map<String, Object> marked(Map<String, Object> fields) {
    Map<String, Object> marked = new HashMap<>(fields);
    marked.put("run", RUN);
    return marked;
  }
}
