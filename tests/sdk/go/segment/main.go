package main

import (
	"log"
	"sync"

	analytics "github.com/segmentio/analytics-go/v3"

	"tidegate/tests/sdk/known"
)

type callback struct {
	lock    sync.Mutex
	outcome known.Outcome
}

func (c *callback) Success(analytics.Message) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.outcome.Sent++
}

func (c *callback) Failure(_ analytics.Message, err error) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.outcome.Failed = append(c.outcome.Failed, err)
}

func main() {
	told := &callback{}
	client, err := analytics.NewWithConfig(known.WriteKey, analytics.Config{
		Endpoint: known.URL,
		Callback: told,
	})
	if err != nil {
		log.Fatal(err)
	}
	send := func(message analytics.Message) {
		if err := client.Enqueue(message); err != nil {
			log.Fatal(err)
		}
	}
	events, user := known.Read(), known.Run+"-user"
	send(analytics.Identify{UserId: user, Traits: known.Marked(events.Identify)})
	for n := 0; n < 25; n++ {
		event, properties := events.Track(n)
		send(analytics.Track{UserId: user, Event: event, Properties: properties})
	}
	send(analytics.Page{UserId: user, Name: events.Page.Name, Properties: known.Marked(events.Page.Properties)})
	send(analytics.Group{UserId: user, GroupId: known.Run + "-group", Traits: known.Marked(events.Group)})
	send(analytics.Alias{UserId: user, PreviousId: known.Run + "-prev"})
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
	known.Done("github.com/segmentio/analytics-go/v3", told.outcome)
}
