package markup

import "text/template/parse"

// walk has every action below n escape what it prints.
func walk(tree *parse.Tree, n parse.Node) {
	switch n := n.(type) {
	case *parse.ActionNode:
		escape(tree, n.Pipe)
	case *parse.ListNode:
		if n == nil {
			return // an else that is not there
		}
		for _, child := range n.Nodes {
			walk(tree, child)
		}
	case *parse.IfNode:
		branches(tree, &n.BranchNode)
	case *parse.RangeNode:
		branches(tree, &n.BranchNode)
	case *parse.WithNode:
		branches(tree, &n.BranchNode)
	}
}

func branches(tree *parse.Tree, b *parse.BranchNode) {
	walk(tree, b.List)
	walk(tree, b.ElseList)
}

// escape appends the escaping to a pipeline that prints.
func escape(tree *parse.Tree, pipe *parse.PipeNode) {
	formats(pipe)
	if len(pipe.Decl) > 0 || literal(pipe) {
		return // it prints nothing, or what its author wrote
	}
	pipe.Cmds = append(pipe.Cmds, &parse.CommandNode{
		NodeType: parse.NodeCommand,
		Pos:      pipe.Pos,
		Args:     []parse.Node{parse.NewIdentifier(escaper).SetTree(tree).SetPos(pipe.Pos)},
	})
}

// literal says whether pipe is a string that stands in the template.
func literal(pipe *parse.PipeNode) bool {
	return len(pipe.Cmds) == 1 && len(pipe.Cmds[0].Args) == 1 && pipe.Cmds[0].Args[0].Type() == parse.NodeString
}

// formats has each printf whose format stands in the template escape its
// arguments instead of its result.
func formats(pipe *parse.PipeNode) {
	for _, command := range pipe.Cmds {
		for _, argument := range command.Args {
			if nested, ok := argument.(*parse.PipeNode); ok {
				formats(nested)
			}
		}
		name, ok := command.Args[0].(*parse.IdentifierNode)
		if ok && name.Ident == "printf" && len(command.Args) > 1 && command.Args[1].Type() == parse.NodeString {
			name.Ident = formatter
		}
	}
}
