# make demo: a federation on this machine (deploy/demo).
TARGET ?=
SET    ?=

.PHONY: demo
demo: all ## a cloud, two edges and twenty devices train to their target; TARGET=0.9, SET=plan.data.set=fashion-mnist
	@deploy/demo --bin $(B)/bin $(if $(TARGET),--target '$(TARGET)') $(foreach s,$(SET),--set '$(s)')
