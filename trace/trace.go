package trace

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
)

// Options are where traces go.
type Options struct {
	// Endpoint is the collector's URL; without a path, /v1/traces. What it wants for headers, and who
	// signs its certificate, is read from OTEL_EXPORTER_OTLP_HEADERS and
	// OTEL_EXPORTER_OTLP_CERTIFICATE, or the same with OTLP_TRACES.
	Endpoint string
	// Ratio is the part of the traces that begin here that is kept, from 0 to 1.
	Ratio            float64
	Service, Version string // how the process calls itself; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before it
	// Failed is told of spans that could not be delivered. It must not be nil.
	Failed func(error)
}

// Tracer begins traces. A nil Tracer begins none. Its methods are safe for concurrent use and never wait for the
// collector: what finds no room is dropped.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   api.Tracer
}

const scopeName = "github.com/pgscope/pgscope-proxy"

// New returns a tracer, which [Tracer.Close] ends. It does not look whether there is a collector.
func New(ctx context.Context, o Options) (*Tracer, error) {
	to, err := newCollector(o.Endpoint)
	if err != nil {
		return nil, err
	}
	self, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", o.Service), attribute.String("service.version", o.Version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(ctx, to)
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(o.Failed)) // the library has one for the process
	p := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter), sdk.WithResource(self), sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.Ratio))),
	)
	return &Tracer{p, p.Tracer(scopeName, api.WithInstrumentationVersion(o.Version))}, nil
}

// Close delivers what is left, as far as it can be within ctx.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Work is what a span that is not within another is about.
type Work struct {
	Name   string
	Client bool      // it is done for a client of the proxy, and not of its own accord
	Parent string    // the traceparent (W3C Trace Context) of what asked for it; empty, or no such text, for none
	Began  time.Time // zero for now
}

// Begin begins a span, of the parent's trace or of a new one.
func (t *Tracer) Begin(ctx context.Context, w Work, fields ...Field) (context.Context, Span) {
	if t == nil {
		return ctx, Span{}
	}
	if w.Parent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": w.Parent})
	}
	options := []api.SpanStartOption{api.WithAttributes(fields...)}
	if w.Client {
		options = append(options, api.WithSpanKind(api.SpanKindServer))
	}
	if !w.Began.IsZero() {
		options = append(options, api.WithTimestamp(w.Began))
	}
	ctx, s := t.tracer.Start(ctx, w.Name, options...)
	return ctx, Span{s}
}

// Child begins a span within the one of ctx; where ctx has none, it does nothing.
func Child(ctx context.Context, name string, fields ...Field) (context.Context, Span) {
	parent := api.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	ctx, s := parent.TracerProvider().Tracer(scopeName).Start(ctx, name, api.WithAttributes(fields...))
	return ctx, Span{s}
}

// Span is work under way. The zero Span takes no notice of anything.
type Span struct{ span api.Span }

// Was adds a span within this one, of something that is over.
func (s Span) Was(name string, from, to time.Time) {
	if s.span != nil && s.span.IsRecording() && !from.IsZero() {
		ctx := api.ContextWithSpan(context.Background(), s.span)
		_, child := s.span.TracerProvider().Tracer(scopeName).Start(ctx, name, api.WithTimestamp(from))
		child.End(api.WithTimestamp(to))
	}
}

// Set adds to what is said of the work.
func (s Span) Set(fields ...Field) {
	if s.span != nil {
		s.span.SetAttributes(fields...)
	}
}

// Fail tells that the work was in vain, and why.
func (s Span) Fail(reason string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, valid(reason))
	}
}

// End ends the span, with an error if there is one.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	if err != nil {
		s.Fail(err.Error())
	}
	s.span.End()
}

// Field is something to be said of a span.
type Field = attribute.KeyValue

// Text is a field. Texts must have no secrets in them. A long one is cut.
func Text(key, value string) Field { return attribute.String(key, valid(value)) }

// Texts is a field with several values. Of many, the first are kept.
func Texts(key string, values []string) Field {
	values = values[:min(len(values), maxTexts)]
	kept := make([]string, len(values))
	for i, v := range values {
		kept[i] = valid(v)
	}
	return attribute.StringSlice(key, kept)
}

// Count is a field.
func Count(key string, n int) Field { return attribute.Int(key, n) }

const (
	maxText  = 4 << 10 // of a span, in bytes
	maxTexts = 100     // of one field
)

// valid makes of a text one that can be sent: a name may be in another encoding, and one bad
// byte would cost the whole batch.
func valid(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "\uFFFD") }

// InComment returns the traceparent that a statement says in a comment, as sqlcommenter has it; empty where it says none.
//
//	DROP ROLE clerk /*db_driver='pgx',traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01'*/
func InComment(sql string) string {
	for {
		_, rest, found := strings.Cut(sql, "/*")
		if !found {
			return ""
		}
		comment, behind, _ := strings.Cut(rest, "*/")
		if _, value, found := strings.Cut(comment, "traceparent='"); found {
			value, _, _ = strings.Cut(value, "'")
			return value
		}
		sql = behind
	}
}
