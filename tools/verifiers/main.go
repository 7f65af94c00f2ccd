// Verifies what a log of Mandate states by programs that know nothing of Mandate: golang.org/x/mod/sumdb,
// github.com/transparency-dev/merkle and filippo.io/torchwood. A line on stdout says what was verified, or why not;
// the exit code is 1 where anything was refused.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const usage = `usage:
  verifiers note <vkey>...             a signed note on stdin, by one key or more
  verifiers checkpoint <policy file>   a checkpoint on stdin, by a tlog-policy
  verifiers inclusion                  proofs on stdin, as JSON; a line for each
  verifiers consistency                proofs on stdin, as JSON; a line for each
  verifiers proof <vkey> <entry file>  a tlog-proof on stdin
  verifiers tiles <folder|url> <vkey>  a whole log as tlog-tiles; LOG_AUTHORIZATION is sent, if it is set`

var errRefused = errors.New("refused")

func main() {
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	if err != errRefused {
		fmt.Printf("refused: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	os.Exit(1)
}

func run(args []string) error {
	switch {
	case len(args) >= 2 && args[0] == "note":
		return verifyNote(args[1:])
	case len(args) == 2 && args[0] == "checkpoint":
		return verifyCheckpoint(args[1])
	case len(args) == 1 && args[0] == "inclusion":
		return verifyEach(verifyInclusion)
	case len(args) == 1 && args[0] == "consistency":
		return verifyEach(verifyConsistency)
	case len(args) == 3 && args[0] == "proof":
		return verifyProof(args[1], args[2])
	case len(args) == 3 && args[0] == "tiles":
		return verifyTiles(args[1], args[2])
	}
	return errors.New(usage)
}

// verifierOf takes the keys of logs (type 1) and of witnesses (type 4).
func verifierOf(vkey string) (note.Verifier, error) {
	if verifier, err := note.NewVerifier(vkey); err == nil {
		return verifier, nil
	}
	return torchwood.NewCosignatureVerifier(vkey)
}

func verifyNote(vkeys []string) error {
	var known []note.Verifier
	for _, vkey := range vkeys {
		verifier, err := verifierOf(vkey)
		if err != nil {
			return err
		}
		known = append(known, verifier)
	}
	source, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	opened, err := note.Open(source, note.VerifierList(known...))
	if err != nil {
		return err
	}
	var names []string
	for _, signature := range opened.Sigs {
		names = append(names, signature.Name)
	}
	fmt.Printf("signed by %s\n", strings.Join(names, " "))
	return nil
}

func verifyCheckpoint(policyFile string) error {
	text, err := os.ReadFile(policyFile)
	if err != nil {
		return err
	}
	policy, err := torchwood.ParsePolicy(text)
	if err != nil {
		return err
	}
	source, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(source, policy)
	if err != nil {
		return err
	}
	fmt.Printf("%s of %d leaves\n", checkpoint.Origin, checkpoint.N)
	return nil
}

// A proof has the names that the vectors of transparency-dev/merkle have.
type inclusion struct {
	LeafIdx  uint64   `json:"leafIdx"`
	TreeSize uint64   `json:"treeSize"`
	Root     []byte   `json:"root"`
	LeafHash []byte   `json:"leafHash"`
	Proof    [][]byte `json:"proof"`
}

type consistency struct {
	Size1 uint64   `json:"size1"`
	Size2 uint64   `json:"size2"`
	Root1 []byte   `json:"root1"`
	Root2 []byte   `json:"root2"`
	Proof [][]byte `json:"proof"`
}

func verifyInclusion(p inclusion) error {
	return proof.VerifyInclusion(rfc6962.DefaultHasher, p.LeafIdx, p.TreeSize, p.LeafHash, p.Proof, p.Root)
}

func verifyConsistency(p consistency) error {
	return proof.VerifyConsistency(rfc6962.DefaultHasher, p.Size1, p.Size2, p.Proof, p.Root1, p.Root2)
}

// verifyEach reads values that stand one after the other.
func verifyEach[T any](verify func(T) error) error {
	var result error
	for decoder := json.NewDecoder(os.Stdin); ; {
		var each T
		if err := decoder.Decode(&each); err == io.EOF {
			return result
		} else if err != nil {
			return err
		}
		if err := verify(each); err != nil {
			fmt.Printf("refused: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
			result = errRefused
		} else {
			fmt.Println("verified")
		}
	}
}

// policyOf takes the checkpoints of one log, by its key.
func policyOf(vkey string) (torchwood.Policy, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	origin := torchwood.OriginPolicy(verifier.Name())
	return torchwood.ThresholdPolicy(2, origin, torchwood.SingleVerifierPolicy(verifier)), nil
}

func verifyProof(vkey, entryFile string) error {
	policy, err := policyOf(vkey)
	if err != nil {
		return err
	}
	entry, err := os.ReadFile(entryFile)
	if err != nil {
		return err
	}
	source, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry), source); err != nil {
		return err
	}
	extra, err := torchwood.ProofExtraData(source)
	if err != nil {
		fmt.Println("proven")
	} else {
		fmt.Printf("proven, with %d bytes of extra data\n", len(extra))
	}
	return nil
}

func verifyTiles(place, vkey string) error {
	policy, err := policyOf(vkey)
	if err != nil {
		return err
	}
	reader, err := readerOf(place)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	signed, err := reader.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return err
	}
	checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy)
	if err != nil {
		return err
	}
	// The tiles by their own: the root that they make is the one that is signed.
	root, err := tlog.TreeHash(checkpoint.N, torchwood.TileHashReaderWithContext(ctx, checkpoint.Tree, reader))
	if err != nil {
		return err
	}
	if root != checkpoint.Hash {
		return errors.New("the tiles have another root")
	}
	return verifyEntries(ctx, reader, checkpoint)
}

// verifyEntries checks each entry against the tile that has its hash, and all of them, without any tile, against the
// root.
func verifyEntries(ctx context.Context, reader torchwood.TileReader, checkpoint torchwood.Checkpoint) error {
	client, err := torchwood.NewClient(reader)
	if err != nil {
		return err
	}
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	tree := factory.NewEmptyRange(0)
	for _, entry := range client.AllEntries(ctx, checkpoint.Tree, 0) {
		if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(entry), nil); err != nil {
			return err
		}
	}
	if err := client.Err(); err != nil {
		return err
	}
	if tree.End() != uint64(checkpoint.N) {
		return fmt.Errorf("there are %d entries, not %d", tree.End(), checkpoint.N)
	}
	root, err := tree.GetRootHash(nil)
	if err != nil {
		return err
	}
	if checkpoint.N == 0 {
		root = rfc6962.DefaultHasher.EmptyRoot()
	}
	if !bytes.Equal(root, checkpoint.Hash[:]) {
		return errors.New("the entries have another root")
	}
	fmt.Printf("%s of %d leaves\n", checkpoint.Origin, checkpoint.N)
	return nil
}

func readerOf(place string) (torchwood.TileReader, error) {
	if !strings.HasPrefix(place, "http://") && !strings.HasPrefix(place, "https://") {
		return torchwood.NewTileFS(os.DirFS(place))
	}
	client := &http.Client{Timeout: 30 * time.Second, Transport: authorized{os.Getenv("LOG_AUTHORIZATION")}}
	return torchwood.NewTileFetcher(place, torchwood.WithHTTPClient(client), torchwood.WithConcurrencyLimit(8))
}

// authorized sends a header with each request.
type authorized struct{ header string }

func (a authorized) RoundTrip(request *http.Request) (*http.Response, error) {
	if a.header != "" {
		request = request.Clone(request.Context())
		request.Header.Set("Authorization", a.header)
	}
	return http.DefaultTransport.RoundTrip(request)
}
