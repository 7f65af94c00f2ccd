# What partial evaluation is asked, where the resource is not known (docs/plan.md): the parts that mandate/decision is made of,
# each under its name. It allows where "allowed" holds and none of "guarded", "denied", "malformed" and "challenged" does.
package mandate.plan

part contains "guarded" if count(data.mandate.decide.guarded) > 0

part contains "denied" if some _ in data.authz.deny

part contains "malformed" if data.mandate.decide.malformed

part contains "challenged" if data.mandate.decide.challenges

part contains "allowed" if data.authz.allow == true

part contains ["obligation", obligation] if some obligation in data.authz.obligations
