import com.rudderstack.sdk.java.analytics.RudderAnalytics;
import com.rudderstack.sdk.java.analytics.Callback;
import com.rudderstack.sdk.java.analytics.AnalyticsVersion;
import com.rudderstack.sdk.java.analytics.messages.AliasMessage;
import com.rudderstack.sdk.java.analytics.messages.GroupMessage;
import com.rudderstack.sdk.java.analytics.messages.IdentifyMessage;
import com.rudderstack.sdk.java.analytics.messages.Message;
import com.rudderstack.sdk.java.analytics.messages.PageMessage;
import com.rudderstack.sdk.java.analytics.messages.TrackMessage;

final class RudderClient {
  public static void main(String[] arguments) throws Exception {
    Known known = new Known();
    RudderAnalytics analytics =
        RudderAnalytics.builder(Known.WRITE_KEY)
            .setDataPlaneUrl(Known.URL)
            .callback(
                new Callback() {
                  public void success(Message message) {
                    known.success();
                  }

                  public void failure(Message message, Throwable error) {
                    known.failure(error);
                  }
                })
            .build();
    analytics.enqueue(IdentifyMessage.builder().userId(Known.USER).traits(known.marked("identify")));
    for (int n = 0; n < 25; n++) {
      analytics.enqueue(
          TrackMessage.builder(Known.trackName(n)).userId(Known.USER).properties(known.trackProperties(n)));
    }
    analytics.enqueue(
        PageMessage.builder(known.pageName()).userId(Known.USER).properties(known.pageProperties()));
    analytics.enqueue(
        GroupMessage.builder(Known.RUN + "-group").userId(Known.USER).traits(known.marked("group")));
    analytics.enqueue(AliasMessage.builder(Known.RUN + "-prev").userId(Known.USER));
    analytics.flush();
    known.done("com.rudderstack.sdk.java.analytics:analytics", AnalyticsVersion.get());
    analytics.shutdown();
    // Threads of the HTTP client outlive the SDK's shutdown by a minute.
    System.exit(0);
  }
}
