// grpc-go makes the calls of a plan and tells how each ended: a plan is JSON on standard input, the outcomes one line of
// JSON on standard output (test/foreign/plan.ts describes both). Messages are bytes: what they mean is the caller's.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type call struct {
	Method      string
	Stream      bool
	Gzip        bool
	Messages    [][]byte
	Metadata    map[string]string
	TimeoutNs   int64
	CancelAfter *int64 // Microseconds.
	RestMs      int64  // Before each message of a stream but the first.
}

type plan struct {
	Address     string
	CA          string
	Connections int
	KeepaliveMs int64
	Calls       []call
}

type outcome struct {
	Code      uint32   `json:"code"`
	Message   string   `json:"message"`
	ErrorCode string   `json:"errorCode"`
	Messages  [][]byte `json:"messages"`
}

// bytesCodec passes messages on as they are, under the name of what they are.
type bytesCodec struct{}

func (bytesCodec) Name() string                  { return "proto" }
func (bytesCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte{}, data...)
	return nil
}

func main() {
	var p plan
	must(json.NewDecoder(os.Stdin).Decode(&p))
	connections := dial(p)
	outcomes := make([]outcome, len(p.Calls))
	var all sync.WaitGroup
	for at, each := range p.Calls {
		all.Go(func() { outcomes[at] = each.make(connections[at%len(connections)]) })
	}
	all.Wait()
	must(json.NewEncoder(os.Stdout).Encode(outcomes))
}

func dial(p plan) []*grpc.ClientConn {
	security := insecure.NewCredentials()
	if p.CA != "" {
		var err error
		security, err = credentials.NewClientTLSFromFile(p.CA, "")
		must(err)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(security),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{}), grpc.MaxCallRecvMsgSize(64<<20)),
	}
	if p.KeepaliveMs > 0 {
		options = append(options, grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: time.Duration(p.KeepaliveMs) * time.Millisecond, Timeout: 2 * time.Second,
		}))
	}
	connections := make([]*grpc.ClientConn, max(1, p.Connections))
	for at := range connections {
		connection, err := grpc.NewClient(p.Address, options...)
		must(err)
		connections[at] = connection
	}
	return connections
}

func (c call) make(connection *grpc.ClientConn) outcome {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(context.Background(), metadata.New(c.Metadata)))
	defer cancel()
	if c.TimeoutNs > 0 {
		var release context.CancelFunc
		ctx, release = context.WithTimeout(ctx, time.Duration(c.TimeoutNs))
		defer release()
	}
	if c.CancelAfter != nil {
		time.AfterFunc(time.Duration(*c.CancelAfter)*time.Microsecond, cancel)
	}
	var trailer metadata.MD
	options := []grpc.CallOption{grpc.Trailer(&trailer)}
	if c.Gzip {
		options = append(options, grpc.UseCompressor("gzip"))
	}
	answers := [][]byte{}
	var err error
	if c.Stream {
		answers, err = c.exchange(ctx, connection, options)
	} else {
		var answer []byte
		if err = connection.Invoke(ctx, c.Method, c.Messages[0], &answer, options...); err == nil {
			answers = append(answers, answer)
		}
	}
	ended := outcome{Code: uint32(status.Code(err)), Message: status.Convert(err).Message(), Messages: answers}
	if codes := trailer.Get("mandate-error-code"); len(codes) > 0 {
		ended.ErrorCode = codes[0]
	}
	return ended
}

// exchange sends and receives at once: who only sends is stopped by flow control.
func (c call) exchange(ctx context.Context, to *grpc.ClientConn, with []grpc.CallOption) ([][]byte, error) {
	both := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	stream, err := to.NewStream(ctx, both, c.Method, with...)
	if err != nil {
		return [][]byte{}, err
	}
	go func() {
		for at, message := range c.Messages {
			if at > 0 {
				time.Sleep(time.Duration(c.RestMs) * time.Millisecond)
			}
			// What went wrong, the receiver is told.
			if stream.SendMsg(message) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	answers := [][]byte{}
	for {
		var answer []byte
		if err := stream.RecvMsg(&answer); errors.Is(err, io.EOF) {
			return answers, nil
		} else if err != nil {
			return answers, err
		}
		answers = append(answers, answer)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
