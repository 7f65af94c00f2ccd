# The entry point mandate/decision: guardrails and the tenant's package authz, combined.
# Any deny wins, then a challenge, then allow; what is undefined or not a boolean is a deny.
package mandate.decide

import data.mandate.guardrails

result := {
	"outcome": outcome,
	"reasons": reasons,
	"rules": rules,
	"obligations": obligations,
	"challenge": challenge,
}

default outcome := "deny"

outcome := "deny" if {
	denied
} else := "challenge" if {
	count(challenge) > 0
} else := "allow" if {
	data.authz.allow == true
}

denied if count(guarded) > 0

denied if count(denials) > 0

guarded := guardrails.denials | guardrails.acting_denials

denials contains reason if some reason in data.authz.deny

# A deny that is neither a set nor an array, nor plainly false, was meant to deny something.
denials contains "deny_malformed" if {
	deny := data.authz.deny
	not is_set(deny)
	not is_array(deny)
	deny != false
}

default challenge := {}

challenge := data.authz.challenge if is_object(data.authz.challenge)

undecided if not is_boolean(data.authz.allow)

rules contains "mandate.guardrails" if count(guarded) > 0

rules contains "authz.deny" if count(denials) > 0

rules contains "authz.challenge" if outcome == "challenge"

rules contains "authz.allow" if {
	not denied
	outcome != "challenge"
}

reasons contains reason if some reason in guarded

reasons contains reason if some reason in denials

reasons contains {"code": "policy_undefined", "message": "the policy does not define a boolean allow"} if {
	not denied
	outcome != "challenge"
	undecided
}

reasons contains {"code": "not_allowed", "message": "no rule allows it"} if {
	not denied
	outcome == "deny"
	not undecided
}

reasons contains reason if {
	not denied
	some reason in data.authz.reasons
}

obligations contains obligation if {
	outcome == "allow"
	some obligation in data.authz.obligations
}
