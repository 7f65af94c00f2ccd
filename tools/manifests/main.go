// Renders a chart by Helm's own engine, and reads manifests as Kubernetes' own API types, strictly: a field that there
// is not, that stands twice or is of another type is refused. So it is with a Compose file and with rules for
// Prometheus, by their own libraries. A line on stderr says what was not known and so not read.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

const usage = `usage:
  manifests chart <folder> [values.yaml]...   renders the chart with these values; schema and templates hold
  manifests check                             reads the manifests on stdin; a line "kind/name" for each
  manifests compose <file>                    reads a Compose file by its specification; a line for each service
  manifests rules <file>                      reads rules by Prometheus' own parser; a line "alert metric..." for each`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 2 && args[0] == "chart":
		return render(args[1], args[2:])
	case len(args) == 1 && args[0] == "check":
		text, err := io.ReadAll(io.LimitReader(os.Stdin, 16<<20))
		if err != nil {
			return err
		}
		return check(string(text))
	case len(args) == 2 && args[0] == "compose":
		return compose(args[1])
	case len(args) == 2 && args[0] == "rules":
		return rules(args[1])
	}
	return errors.New(usage)
}

func render(folder string, files []string) error {
	loaded, err := loader.Load(folder)
	if err != nil {
		return err
	}
	if err := loaded.Validate(); err != nil {
		return err
	}
	given := map[string]any{}
	for _, file := range files {
		values, err := chartutil.ReadValuesFile(file)
		if err != nil {
			return err
		}
		given = chartutil.CoalesceTables(values, given)
	}
	release := chartutil.ReleaseOptions{Name: "mandate", Namespace: "mandate-system", Revision: 1, IsInstall: true}
	values, err := chartutil.ToRenderValues(loaded, given, release, chartutil.DefaultCapabilities)
	if err != nil {
		return err
	}
	rendered, err := engine.Engine{Strict: true}.Render(loaded, values)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(rendered))
	for name := range rendered {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		text := strings.TrimSpace(rendered[name])
		if text == "" || path.Ext(name) != ".yaml" {
			continue
		}
		fmt.Printf("---\n# %s\n%s\n", name, text)
	}
	return nil
}

func compose(file string) error {
	options, err := cli.NewProjectOptions([]string{file})
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	for _, name := range project.ServiceNames() {
		fmt.Println(name)
	}
	return nil
}

func rules(file string) error {
	promql := parser.NewParser(parser.Options{})
	groups, failed := rulefmt.ParseFile(file, false, model.LegacyValidation, promql, slog.New(slog.DiscardHandler))
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			expression, err := promql.ParseExpr(rule.Expr)
			if err != nil {
				return err
			}
			line := []string{rule.Alert}
			parser.Inspect(expression, func(node parser.Node, _ []parser.Node) error {
				if selector, is := node.(*parser.VectorSelector); is && !slices.Contains(line, selector.Name) {
					line = append(line, selector.Name)
				}
				return nil
			})
			fmt.Println(strings.Join(line, " "))
		}
	}
	return nil
}

func check(text string) error {
	codecs := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict)
	decoder := codecs.UniversalDeserializer()
	var failed []error
	for _, document := range strings.Split("\n"+text, "\n---") {
		raw, err := yaml.YAMLToJSONStrict([]byte(document))
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if bytes.Equal(raw, []byte("null")) {
			continue
		}
		var named struct {
			Kind     string
			Metadata struct{ Name string }
		}
		if err := yaml.Unmarshal(raw, &named); err != nil {
			failed = append(failed, err)
			continue
		}
		name := named.Kind + "/" + named.Metadata.Name
		if _, _, err := decoder.Decode(raw, nil, nil); runtime.IsNotRegisteredError(err) {
			fmt.Fprintf(os.Stderr, "%s: not of Kubernetes itself, so not read\n", name)
		} else if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", name, err))
			continue
		}
		fmt.Println(name)
	}
	return errors.Join(failed...)
}
