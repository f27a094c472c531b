package measure

import (
	"slices"
	"strings"
	"unicode"

	"tidegate"
)

// Characters of a name.
const nameMax = 40

// What Segment's and RudderStack's specs call an event, in lower case, and GA4's recommended name for it.
var recommended = map[string]string{
	"product list viewed": "view_item_list", "product viewed": "view_item", "product clicked": "select_item",
	"product added": "add_to_cart", "product removed": "remove_from_cart", "cart viewed": "view_cart",
	"product added to wishlist": "add_to_wishlist", "wishlist product added to cart": "add_to_cart",
	"checkout started": "begin_checkout", "payment info entered": "add_payment_info", "order completed": "purchase",
	"order refunded": "refund", "products searched": "search", "promotion viewed": "view_promotion",
	"promotion clicked": "select_promotion", "product shared": "share", "cart shared": "share", "signed up": "sign_up",
	"signed in": "login",
}

func eventName(called string, settings Settings) string {
	if name := settings.Events[called]; name != "" {
		return name
	}
	if name := recommended[strings.ToLower(strings.TrimSpace(called))]; name != "" {
		return name
	}
	return short(snake(called, "event"), "event", called)
}

// short is a name of at most 40 characters. Two names may become one here, so the log says which is cut.
func short(name, what, called string) string {
	letters := []rune(name)
	if len(letters) <= nameMax {
		return name
	}
	cut := strings.TrimRight(string(letters[:nameMax]), "_")
	tidegate.WarnOnce("GA4 takes names of %d characters: the %s %q is sent as %s", nameMax, what, called, cut)
	tidegate.Count("names-cut", 1)
	return cut
}

// snake is a name as GA4 wants it: letters of any script, digits and _, a letter first. One that begins with a digit gets
// prefix before it, so that no digit is lost; "" when nothing is left.
func snake(name, prefix string) string {
	var letters []rune
	var last rune
	for _, letter := range name {
		if !unicode.In(letter, unicode.L, unicode.M, unicode.Nd) {
			letter = '_'
		}
		isBoundary := unicode.IsUpper(letter) && (unicode.IsLower(last) || unicode.IsDigit(last))
		if isBoundary || letter == '_' && last != '_' && len(letters) > 0 {
			letters = append(letters, '_')
		}
		if letter != '_' {
			letters = append(letters, unicode.ToLower(letter))
		}
		last = letter
	}
	if len(letters) > 0 && !unicode.IsLetter(letters[0]) {
		letters = append([]rune(prefix+"_"), letters...)
	}
	return strings.TrimRight(string(letters), "_")
}

// https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference#reserved_names, and what
// https://support.google.com/analytics/answer/13316687 adds for websites. `page_view` is what a page is sent as.
var reservedEvents = strings.Fields(`ad_activeview ad_click ad_exposure ad_impression ad_query ad_reward adunit_exposure
	app_clear_data app_exception app_install app_remove app_store_refund app_store_subscription_cancel
	app_store_subscription_convert app_store_subscription_renew app_update app_upgrade click dynamic_link_app_open
	dynamic_link_app_update dynamic_link_first_open error file_download firebase_campaign firebase_in_app_message_action
	firebase_in_app_message_dismiss firebase_in_app_message_impression first_open first_visit form_start form_submit
	in_app_purchase notification_dismiss notification_foreground notification_open notification_receive
	notification_send os_update scroll session_start session_start_with_rollout user_engagement video_progress video_start
	view_complete view_search_results`)

var reservedParams = strings.Fields(`cid customer_id customerid dclid engagement_time_msec gclid session_id session_number
	sessionid sfmc_id sid srsltid uid user_id userid`)

var reservedUserProperties = strings.Fields(`cid customer_id customerid first_open_after_install first_open_time
	first_visit_time google_allow_ad_personalization_signals last_advertising_id_reset last_deep_link_referrer last_gclid
	lifetime_user_engagement non_personalized_ads session_id session_number sessionid sfmc_id sid uid user_id userid`)

func reserved(name string, names []string) bool {
	for _, prefix := range []string{"_", "ga_", "google_", "firebase_", "gtag.", "query_id"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains(names, name)
}
