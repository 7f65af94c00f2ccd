# What the engine calls.
package mandate

decision := data.mandate.decide.result

delegation := data.mandate.delegate.result

audit := data.mandate.keep.result

approval := data.mandate.approve.result
