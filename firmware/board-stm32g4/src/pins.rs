//! What is wired to what on the carrier board, and the pins as the supervisor wants them.
//!
//! | Pin | What | |
//! |---|---|---|
//! | PA9, PA10 | link to the computer | USART1, 115 200 baud, 8N1 |
//! | PB0, PB1 | carrier rail: enable, power good | high is on, high is good |
//! | PB2, PB10 | module rail: enable, power good | high is on, high is good |
//! | PB11 | the module's reset | open drain, low resets |
//! | PA8 | fan, pulse width | TIM1 channel 1, 25 kHz (Intel's four-wire fans) |
//! | PA6 | fan, tachometer | two pulses a turn, pulled up |
//! | PA0 | board's thermistor | ADC1 |
//! | PA1 | supply over its divider | ADC1 |
//! | PC13 | button | pressed is low |
//! | PB12 | door's switch | closed is low, so that a cut wire is an open door |
//! | PB13, PB14 | light: red, green | high is lit; both are amber |

use embassy_stm32::adc::{Adc, AdcChannel, AnyAdcChannel, SampleTime};
use embassy_stm32::gpio::{Input, Level, Output, OutputOpenDrain, OutputType, Pull, Speed};
use embassy_stm32::peripherals::{ADC1, FLASH, IWDG, TIM1, USART1};
use embassy_stm32::time::khz;
use embassy_stm32::timer::low_level::CountingMode;
use embassy_stm32::timer::simple_pwm::{PwmPin, SimplePwm};
use embassy_stm32::usart::{self, BufferedUart};
use embassy_stm32::{Peri, Peripherals, bind_interrupts};
use embedded_io::Write;
use firmware::sense::{Tachometer, board_deci_c, input_mv};
use firmware::{Board, Colour, Inputs, Outputs, Supervisor};

bind_interrupts!(struct Interrupts {
    USART1 => usart::BufferedInterruptHandler<USART1>;
});

/// Bytes between interrupt and loop: two of the longest frames, 22 ms at 115 200 baud, where the loop needs one.
const QUEUE: usize = 256;
/// For the capacitor of the converter, behind dividers of kiloohms.
const SAMPLE: SampleTime = SampleTime::CYCLES247_5;

/// The link's two queues. They live as long as the program.
pub struct Queues {
    received: [u8; QUEUE],
    sending: [u8; QUEUE],
}

impl Queues {
    pub const fn new() -> Queues {
        Queues { received: [0; QUEUE], sending: [0; QUEUE] }
    }
}

/// All pins.
pub struct Pins {
    link: BufferedUart<'static>,
    carrier: Output<'static>,
    carrier_good: Input<'static>,
    module: Output<'static>,
    module_good: Input<'static>,
    reset: OutputOpenDrain<'static>,
    fan: SimplePwm<'static, TIM1>,
    tachometer: (Input<'static>, Tachometer),
    converter: Adc<'static, ADC1>,
    thermistor: AnyAdcChannel<'static, ADC1>,
    supply: AnyAdcChannel<'static, ADC1>,
    button: Input<'static>,
    door: Input<'static>,
    red: Output<'static>,
    green: Output<'static>,
}

impl Pins {
    /// Everything off, the module in reset and the fan at full speed, until the supervisor says otherwise; and what is no pin,
    /// the flash and the watchdog.
    pub fn new(
        p: Peripherals,
        queues: &'static mut Queues,
    ) -> (Pins, Peri<'static, FLASH>, Peri<'static, IWDG>) {
        let Queues { received, sending } = queues;
        let mut link = usart::Config::default();
        link.baudrate = link::BAUD;
        let link = BufferedUart::new(p.USART1, p.PA10, p.PA9, sending, received, Interrupts, link);
        let fan = PwmPin::new(p.PA8, OutputType::PushPull);
        let mut fan = SimplePwm::new(
            p.TIM1,
            Some(fan),
            None,
            None,
            None,
            khz(25),
            CountingMode::EdgeAlignedUp,
        );
        fan.ch1().set_duty_cycle_fully_on();
        fan.ch1().enable();
        let pins = Pins {
            link: link.expect("the baud rate is one that the clock can make"),
            carrier: Output::new(p.PB0, Level::Low, Speed::Low),
            carrier_good: Input::new(p.PB1, Pull::Down),
            module: Output::new(p.PB2, Level::Low, Speed::Low),
            module_good: Input::new(p.PB10, Pull::Down),
            reset: OutputOpenDrain::new(p.PB11, Level::Low, Speed::Low),
            fan,
            tachometer: (Input::new(p.PA6, Pull::Up), Tachometer::default()),
            converter: Adc::new(p.ADC1, Default::default()),
            thermistor: p.PA0.degrade_adc(),
            supply: p.PA1.degrade_adc(),
            button: Input::new(p.PC13, Pull::Up),
            door: Input::new(p.PB12, Pull::Up),
            red: Output::new(p.PB13, Level::Low, Speed::Low),
            green: Output::new(p.PB14, Level::Low, Speed::Low),
        };
        (pins, p.FLASH, p.IWDG)
    }
}

impl Board for Pins {
    fn uptime_ms(&mut self) -> u32 {
        crate::uptime_ms()
    }

    fn received(&mut self) -> Option<u8> {
        // An overrun loses bytes: the frame is then damaged, and counted as such.
        embedded_hal_nb::serial::Read::read(&mut self.link).ok()
    }

    fn send(&mut self, frame: &[u8]) {
        // The line takes every byte.
        let _ = self.link.write_all(frame).and_then(|()| self.link.flush());
    }

    fn inputs(&mut self, now_ms: u64, _outputs: &Outputs) -> Inputs {
        let (pin, tachometer) = &mut self.tachometer;
        let fan_rpm = tachometer.look(now_ms, pin.is_high());
        let thermistor = self.converter.blocking_read(&mut self.thermistor, SAMPLE);
        let supply = self.converter.blocking_read(&mut self.supply, SAMPLE);
        Inputs {
            carrier_good: self.carrier_good.is_high(),
            module_good: self.module_good.is_high(),
            button_down: self.button.is_low(),
            door_open: self.door.is_high(),
            board_deci_c: board_deci_c(thermistor),
            input_mv: input_mv(supply),
            fan_rpm,
        }
    }

    fn drive(&mut self, supervisor: &Supervisor<'_>) {
        let Outputs { carrier, module, reset, fan_percent, led } = supervisor.outputs();
        self.carrier.set_level(carrier.into());
        self.module.set_level(module.into());
        self.reset.set_level((!reset).into());
        self.fan.ch1().set_duty_cycle_percent(fan_percent);
        let lit = led.is_lit(supervisor.now_ms());
        let is = |colours: [Colour; 2]| lit && colours.contains(&led.colour);
        self.red.set_level(is([Colour::Red, Colour::Amber]).into());
        self.green.set_level(is([Colour::Green, Colour::Amber]).into());
    }
}
