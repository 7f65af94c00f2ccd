# The library of the platform: the one package of it that a tenant's policy may read.
package mandate.lib

# The principal that acts now: the agent of a delegation, else the subject itself.
acting := input.actors[0]

acting := input.subject if count(input.actors) == 0

# True while somebody acts for the subject.
delegated if count(input.actors) > 0

has_role(role) if role in input.subject.roles

in_group(group) if group in input.subject.groups

# What the subject's identity provider said of it when it signed in, by the claims that the tenant names.
has_issuer_role(role) if role in input.context.authentication.roles

in_issuer_group(group) if group in input.context.authentication.groups

owns_resource if input.resource.properties.owner == input.subject.id
