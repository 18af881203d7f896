// A container runtime of one call, on libcni: reads a request on stdin, does it, prints one outcome for each attachment.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

// A hung plugin must end this program before the test's own bound does.
const callMax = 60 * time.Second

const attachmentsMax = 1024

type attachment struct {
	ContainerID string `json:"containerId"`
	Netns       string `json:"netns"`
	Ifname      string `json:"ifname"`
}

type request struct {
	// ADD, CHECK and DEL do all attachments at once. CACHED gives what ADD left in the cache. GC keeps the attachments, and
	// sends no list where there is none. STATUS and VALIDATE are about the network.
	Verb        string         `json:"verb"`
	Network     string         `json:"network"`
	ConfDir     string         `json:"confDir"`
	Path        []string       `json:"path"`
	CacheDir    string         `json:"cacheDir"`
	Attachments []attachment   `json:"attachments"`
	Args        [][2]string    `json:"args"`
	Capability  map[string]any `json:"capabilityArgs"`
}

type outcome struct {
	Result       types.Result `json:"result,omitempty"`
	Capabilities []string     `json:"capabilities,omitempty"`
	Error        *types.Error `json:"error,omitempty"`
	Milliseconds float64      `json:"ms"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "cni-runtime:", err)
		os.Exit(1)
	}
}

func run() error {
	var req request
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&req); err != nil {
		return fmt.Errorf("the request on stdin: %w", err)
	}
	if len(req.Attachments) > attachmentsMax {
		return fmt.Errorf("%d attachments; at most %d are served", len(req.Attachments), attachmentsMax)
	}
	network, err := libcni.LoadNetworkConf(req.ConfDir, req.Network)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), callMax)
	defer cancel()
	outcomes, err := serve(ctx, &req, network)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(outcomes)
}

func serve(ctx context.Context, req *request, network *libcni.NetworkConfigList) ([]outcome, error) {
	cni := libcni.NewCNIConfigWithCacheDir(req.Path, req.CacheDir, nil)
	switch req.Verb {
	case "ADD":
		return forEach(req, func(rt *libcni.RuntimeConf) (types.Result, error) {
			return cni.AddNetworkList(ctx, network, rt)
		}), nil
	case "CHECK":
		return forEach(req, func(rt *libcni.RuntimeConf) (types.Result, error) {
			return nil, cni.CheckNetworkList(ctx, network, rt)
		}), nil
	case "DEL":
		return forEach(req, func(rt *libcni.RuntimeConf) (types.Result, error) {
			return nil, cni.DelNetworkList(ctx, network, rt)
		}), nil
	case "CACHED":
		return forEach(req, func(rt *libcni.RuntimeConf) (types.Result, error) {
			return cni.GetNetworkListCachedResult(network, rt)
		}), nil
	case "GC":
		return once(func() ([]string, error) { return nil, cni.GCNetworkList(ctx, network, keep(req)) }), nil
	case "STATUS":
		return once(func() ([]string, error) { return nil, cni.GetStatusNetworkList(ctx, network) }), nil
	case "VALIDATE":
		return once(func() ([]string, error) { return cni.ValidateNetworkList(ctx, network) }), nil
	}
	return nil, fmt.Errorf("unknown verb %q", req.Verb)
}

func keep(req *request) *libcni.GCArgs {
	if req.Attachments == nil {
		return nil
	}
	valid := make([]types.GCAttachment, 0, len(req.Attachments))
	for _, a := range req.Attachments {
		valid = append(valid, types.GCAttachment{ContainerID: a.ContainerID, IfName: a.Ifname})
	}
	return &libcni.GCArgs{ValidAttachments: valid}
}

func forEach(req *request, call func(*libcni.RuntimeConf) (types.Result, error)) []outcome {
	outcomes := make([]outcome, len(req.Attachments))
	var all sync.WaitGroup
	for i, a := range req.Attachments {
		all.Go(func() {
			started := time.Now()
			result, err := call(&libcni.RuntimeConf{
				ContainerID:    a.ContainerID,
				NetNS:          a.Netns,
				IfName:         a.Ifname,
				Args:           req.Args,
				CapabilityArgs: req.Capability,
			})
			outcomes[i] = outcome{Result: result, Error: cniError(err), Milliseconds: since(started)}
		})
	}
	all.Wait()
	return outcomes
}

func once(call func() ([]string, error)) []outcome {
	started := time.Now()
	capabilities, err := call()
	return []outcome{{Capabilities: capabilities, Error: cniError(err), Milliseconds: since(started)}}
}

// cniError gives the plugin's own code where the error is one of a plugin; the text is the library's, with what it adds.
func cniError(err error) *types.Error {
	if err == nil {
		return nil
	}
	var plugin *types.Error
	if errors.As(err, &plugin) {
		return types.NewError(plugin.Code, err.Error(), plugin.Details)
	}
	return types.NewError(types.ErrInternal, err.Error(), "")
}

func since(started time.Time) float64 { return float64(time.Since(started).Microseconds()) / 1000 }
