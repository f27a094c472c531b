// A double of Google Pub/Sub (Google's own, for tests of Go programs) that ends with whoever started it: says where it listens, then takes one JSON
// request a line and gives one JSON answer a line.
//
//	{"do": "topic", "topic": t}                                             -> {}
//	{"do": "subscription", "topic": t, "subscription": s, "seconds": n, "ordered": b}   an ack deadline from 10 s on -> {}
//	{"do": "publish", "topic": t, "messages": [{"data": base64, "attributes": {}, "key": k}]} -> {"ids": [..]}
//	{"do": "orders", "topic": t, "from": a, "count": n}                     {"n": .., "user": ..} for each number -> {"ids": how many}
//	{"do": "expire", "seconds": n}   the clock goes that much ahead         -> {}
//	{"do": "counts", "topic": t}     -> {"messages": n, "acked": n, "again": n delivered more than once}
//	{"do": "messages", "topic": t}   -> {"messages": [{"id", "data": text, "attributes", "key"}]}
//
// Names are short here: the project is `tests`.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
)

type outgoing struct {
	Data       []byte            `json:"data"`
	Attributes map[string]string `json:"attributes"`
	Key        string            `json:"key"`
}

type request struct {
	Do           string     `json:"do"`
	Topic        string     `json:"topic"`
	Subscription string     `json:"subscription"`
	Seconds      int32      `json:"seconds"`
	Ordered      bool       `json:"ordered"`
	Messages     []outgoing `json:"messages"`
	From         int        `json:"from"`
	Count        int        `json:"count"`
}

type stored struct {
	ID         string            `json:"id"`
	Data       string            `json:"data"`
	Attributes map[string]string `json:"attributes"`
	Key        string            `json:"key"`
}

func topicName(name string) string { return "projects/tests/topics/" + name }

func answer(server *pstest.Server, ahead *atomic.Int64, asked *request) (any, error) {
	ctx := context.Background()
	switch asked.Do {
	case "topic":
		_, err := server.GServer.CreateTopic(ctx, &pb.Topic{Name: topicName(asked.Topic)})
		return struct{}{}, err
	case "subscription":
		_, err := server.GServer.CreateSubscription(ctx, &pb.Subscription{
			Name:                  "projects/tests/subscriptions/" + asked.Subscription,
			Topic:                 topicName(asked.Topic),
			AckDeadlineSeconds:    asked.Seconds,
			EnableMessageOrdering: asked.Ordered,
		})
		return struct{}{}, err
	case "publish":
		ids := []string{}
		for _, m := range asked.Messages {
			ids = append(ids, server.PublishOrdered(topicName(asked.Topic), m.Data, m.Attributes, m.Key))
		}
		return map[string]any{"ids": ids}, nil
	case "orders":
		for n := asked.From; n < asked.From+asked.Count; n++ {
			user := fmt.Sprintf("user-%d", n%50)
			data := fmt.Sprintf(`{"n":%d,"user":%q,"big":%d}`, n, user, 9007199254740993+2*int64(n))
			server.PublishOrdered(topicName(asked.Topic), []byte(data), map[string]string{"shop": "berlin"}, "")
		}
		return map[string]any{"ids": asked.Count}, nil
	case "expire":
		ahead.Add(int64(asked.Seconds) * int64(time.Second))
		return struct{}{}, nil
	case "counts":
		all, acked, again := 0, 0, 0
		for _, m := range server.Messages() {
			if m.Topic != topicName(asked.Topic) {
				continue
			}
			all++
			if m.Acks > 0 {
				acked++
			}
			if m.Deliveries > 1 {
				again++
			}
		}
		return map[string]any{"messages": all, "acked": acked, "again": again}, nil
	case "messages":
		found := []stored{}
		for _, m := range server.Messages() {
			if m.Topic == topicName(asked.Topic) {
				found = append(found, stored{m.ID, string(m.Data), m.Attributes, m.OrderingKey})
			}
		}
		return map[string]any{"messages": found}, nil
	}
	return nil, fmt.Errorf("nothing is called %q", asked.Do)
}

func main() {
	server := pstest.NewServer()
	defer server.Close()
	var ahead atomic.Int64
	server.SetTimeNowFunc(func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	out := json.NewEncoder(os.Stdout)
	_ = out.Encode(map[string]string{"address": server.Addr})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var asked request
		err := json.Unmarshal(lines.Bytes(), &asked)
		var said any
		if err == nil {
			said, err = answer(server, &ahead, &asked)
		}
		if err != nil {
			said = map[string]string{"error": err.Error()}
		}
		_ = out.Encode(said)
	}
}
