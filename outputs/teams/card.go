package teams

// The parts of an Adaptive Card that are used. The version is the highest that
// webhooks are promised to show: 1.4. Foreign text is only ever put into
// TextRuns, in which Teams looks for no Markdown; TextBlock and FactSet, which
// FalcoSidekick's own layout would ask for, interpret it, and not every client
// takes a backslash before it.
type message struct {
	Type        string       `json:"type"` // "message"
	Summary     string       `json:"summary"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string `json:"contentType"`
	ContentURL  any    `json:"contentUrl"` // null: workflows ask for the key
	Content     card   `json:"content"`
}

type card struct {
	Schema  string  `json:"$schema"`
	Type    string  `json:"type"` // "AdaptiveCard"
	Version string  `json:"version"`
	Teams   layout  `json:"msteams"`
	Body    []block `json:"body"`
}

type layout struct {
	Width string `json:"width"` // "Full": by default cards are narrow
}

// block is any of the elements that are used: those fields are set that the
// element has.
type block struct {
	Type    string  `json:"type"`
	Style   string  `json:"style,omitempty"`   // Container
	Bleed   bool    `json:"bleed,omitempty"`   // Container: up to the edge of the card
	Items   []block `json:"items,omitempty"`   // Container, Column
	Columns []block `json:"columns,omitempty"` // ColumnSet
	Width   string  `json:"width,omitempty"`   // Column
	URL     string  `json:"url,omitempty"`     // Image
	AltText string  `json:"altText,omitempty"` // Image
	Size    string  `json:"size,omitempty"`    // Image
	Spacing string  `json:"spacing,omitempty"`
	Inlines []run   `json:"inlines,omitempty"` // RichTextBlock
}

type run struct {
	Type     string `json:"type"` // "TextRun"
	Text     string `json:"text"`
	Weight   string `json:"weight,omitempty"`
	Size     string `json:"size,omitempty"`
	FontType string `json:"fontType,omitempty"`
	Subtle   bool   `json:"isSubtle,omitempty"`
}

func newMessage(summary string, body []block) message {
	return message{
		Type:    "message",
		Summary: summary,
		Attachments: []attachment{{
			ContentType: "application/vnd.microsoft.card.adaptive",
			Content: card{
				Schema:  "http://adaptivecards.io/schemas/adaptive-card.json",
				Type:    "AdaptiveCard",
				Version: "1.4",
				Teams:   layout{Width: "Full"},
				Body:    body,
			},
		}},
	}
}

func container(style string, items ...block) block {
	return block{Type: "Container", Style: style, Bleed: true, Items: items}
}

// beside puts a picture to the left of items.
func beside(image string, items []block) block {
	return block{Type: "ColumnSet", Columns: []block{
		{Type: "Column", Width: "auto", Items: []block{{Type: "Image", URL: image, AltText: "", Size: "Small"}}},
		{Type: "Column", Width: "stretch", Items: items},
	}}
}

func paragraph(spacing string, runs ...run) block {
	return block{Type: "RichTextBlock", Spacing: spacing, Inlines: runs}
}

func text(s string) run   { return run{Type: "TextRun", Text: s} }
func subtle(s string) run { return run{Type: "TextRun", Text: s, Subtle: true} }
func mono(s string) run   { return run{Type: "TextRun", Text: s, FontType: "Monospace"} }
func title(s string) run {
	return run{Type: "TextRun", Text: s, Weight: "Bolder", Size: "Medium"}
}
