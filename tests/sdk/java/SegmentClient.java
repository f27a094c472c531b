import com.segment.analytics.Analytics;
import com.segment.analytics.Callback;
import com.segment.analytics.internal.AnalyticsVersion;
import com.segment.analytics.messages.AliasMessage;
import com.segment.analytics.messages.GroupMessage;
import com.segment.analytics.messages.IdentifyMessage;
import com.segment.analytics.messages.Message;
import com.segment.analytics.messages.PageMessage;
import com.segment.analytics.messages.TrackMessage;

final class SegmentClient {
  public static void main(String[] arguments) throws Exception {
    Known known = new Known();
    Analytics analytics =
        Analytics.builder(Known.WRITE_KEY)
            .endpoint(Known.URL)
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
    known.done("com.segment.analytics.java:analytics", AnalyticsVersion.get());
    analytics.shutdown();
    // Threads of the HTTP client outlive the SDK's shutdown by a minute.
    System.exit(0);
  }
}
