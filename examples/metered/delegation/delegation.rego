# Who may have an agent act, and for how much without somebody else's word.
package delegation

default allow := false

allow if {
	input.subject.class == "user"
	settled
}

challenge := {"type": "approval", "template": "controller", "valid_for": 600} if not settled

settled if count(large) == 0

settled if input.approval

# It was asked when the task was opened.
settled if input.action.name == "task.renew"

large contains detail if {
	some detail in input.grant.authorization_details
	detail.type == "payment"
	detail.most_euros > 500
}

# Without a detail there would be no bound at all.
deny contains {"code": "unbounded", "message": "say by a detail of the type payment how much it may pay"} if {
	"invoices.pay" in input.grant.scope
	count(payments) == 0
}

payments contains detail if {
	some detail in input.grant.authorization_details
	detail.type == "payment"
}
