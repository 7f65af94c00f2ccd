# Who may delegate to whom.
package delegation

default allow := false

# People of engineering and sales may have agents and servers act for them.
allow if {
	input.subject.class == "user"
	some group in {"engineering", "sales"}
	group in input.subject.groups
	input.actors[0].class in {"agent", "mcp_server"}
}

# Sales does not hand on what suggests changes.
deny contains {"code": "sales_reads_only", "message": "sales delegates reading only"} if {
	"sales" in input.subject.groups
	"docs.suggest" in input.grant.scope
}
