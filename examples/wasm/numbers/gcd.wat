;; A core module: its exported functions on numbers can be called, without any toolchain.
(module
  ;; The greatest common divisor.
  (func (export "gcd") (param $a i64) (param $b i64) (result i64)
    (local $rest i64)
    (loop $again
      (if (i64.ne (local.get $b) (i64.const 0))
        (then
          (local.set $rest (i64.rem_s (local.get $a) (local.get $b)))
          (local.set $a (local.get $b))
          (local.set $b (local.get $rest))
          (br $again))))
    (if (result i64) (i64.lt_s (local.get $a) (i64.const 0))
      (then (i64.sub (i64.const 0) (local.get $a)))
      (else (local.get $a))))

  ;; The length of the long side of a right-angled triangle.
  (func (export "hypotenuse") (param $a f64) (param $b f64) (result f64)
    (f64.sqrt (f64.add (f64.mul (local.get $a) (local.get $a)) (f64.mul (local.get $b) (local.get $b))))))
