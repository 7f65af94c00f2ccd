package approval

default allow := false

allow if "controller" in input.approver.roles
