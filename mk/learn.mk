# The loops around sgemm are written for the compiler to make vectors of.
$(B)/shared/learn/%.o: KFLAGS := -O3
ifeq ($(ARCH),x86_64)
$(B)/shared/learn/%_avx2.o: KFLAGS := -O3 -mavx2
endif
