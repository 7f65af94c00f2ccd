// Asks Mandate as Envoy does, with Envoy's published stubs. Reads a request a line as JSON
// {"extensions", "principal", "method", "path", "headers", "raw"} and prints the answer as JSON a line.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
)

type ask struct {
	Extensions map[string]string `json:"extensions"`
	Principal  string            `json:"principal"`
	Method     string            `json:"method"`
	Path       string            `json:"path"`
	Headers    map[string]string `json:"headers"`
	// As encode_raw_headers sends them: name and value of each in base64.
	Raw [][2][]byte `json:"raw"`
}

func (a ask) headerMap() *core.HeaderMap {
	if len(a.Raw) == 0 {
		return nil
	}
	headers := &core.HeaderMap{}
	for _, each := range a.Raw {
		headers.Headers = append(headers.Headers, &core.HeaderValue{Key: string(each[0]), RawValue: each[1]})
	}
	return headers
}

func main() {
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		panic(err)
	}
	defer connection.Close()
	client := auth.NewAuthorizationClient(connection)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var a ask
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			panic(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if len(os.Args) > 2 {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Args[2])
		}
		answer, err := client.Check(ctx, &auth.CheckRequest{Attributes: &auth.AttributeContext{
			Source: &auth.AttributeContext_Peer{
				Principal: a.Principal,
				Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
					Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 4711},
				}}},
			},
			Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{
				Id: "1", Method: a.Method, Path: a.Path, Host: "docs.acme.example", Scheme: "https",
				Headers: a.Headers, HeaderMap: a.headerMap(),
			}},
			ContextExtensions: a.Extensions,
		}})
		cancel()
		if err != nil {
			out, _ := json.Marshal(map[string]string{"error": err.Error()})
			fmt.Println(string(out))
			continue
		}
		out, _ := protojson.MarshalOptions{UseProtoNames: true}.Marshal(answer)
		fmt.Println(string(out))
	}
}
